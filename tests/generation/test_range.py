"""Numbers that leave float16's range are an error that names the part, never a black video."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import refilm as library

PROMPT = "a critter bounces in the meadow"
OVERFLOW = {  # part -> its folder, the weights that are made too large, what the message calls it
    "transformer": ("transformer", "proj_out.weight", "the transformer, at step 1 of 2, gave NaN or infinity"),
    "autoencoder": ("vae", "decoder.conv_out.conv.weight", "the autoencoder gave NaN or infinity"),
    "text": ("text_encoder", "encoder.final_layer_norm.weight", "the text encoder gave NaN or infinity"),
    "image": ("image_encoder", "mlp.fc2.bias", "the image encoder gave NaN or infinity"),
}


@pytest.fixture(params=OVERFLOW)
def broken(request, tiny_base, tmp_path, monkeypatch) -> tuple[Path, str]:
    """A base model with a part that leaves the range of float16, although no weight does, and the error."""
    folder, name, words = OVERFLOW[request.param]
    base = Path(shutil.copytree(tiny_base, tmp_path / "base", ignore=shutil.ignore_patterns("adapter")))
    shutil.copytree(tiny_base / "adapter", base / "adapter") if request.param == "image" else None
    (path,) = (base / folder).glob("*.safetensors")
    weights = load_file(path)
    for key in [key for key in weights if key.endswith(name)]:
        weights[key] = weights[key].sign().float().where(weights[key] != 0, 1) * 6e4
    save_file(weights, path, {"format": "pt"})
    monkeypatch.chdir(tmp_path)
    return base, words


def test_it_is_an_error_that_names_the_part_and_no_file_is_written(refilm, broken, fox):
    base, words = broken
    reference = ("--reference", fox) if (base / "adapter").exists() else ()
    made = lambda dtype: refilm(  # noqa: E731
        "generate", PROMPT, "-o", f"{dtype}.mp4", "--base", base, "--steps", 2, "--dtype", dtype, *reference
    )
    result = made("float16")
    assert (result.exit_code, result.stdout) == (2, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"error: {words}")
    assert "use bfloat16 or float32 (--dtype)" in line
    assert not Path("float16.mp4").exists()
    assert made("bfloat16").exit_code == 0  # the remedy is one
    with pytest.raises(FloatingPointError, match=words):
        library.load(base, dtype="float16").generate(PROMPT, fox if reference else None, steps=2)


def test_a_demo_ends_at_the_first_video_that_is_not_finite(refilm, tiny_base, tmp_path):
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    (path,) = (base / "vae").glob("*.safetensors")
    weights = load_file(path)
    weights["decoder.conv_out.conv.weight"].fill_(6e4)
    save_file(weights, path, {"format": "pt"})
    result = refilm("demo", "--out", tmp_path / "demo", "--base", base, "--steps", 1, "--dtype", "float16")
    assert result.exit_code == 2
    assert "error: the autoencoder gave NaN or infinity" in result.stderr
    assert not list((tmp_path / "demo").glob("*.mp4"))
