"""Other files of users: LoRA of other programs, variants, pointers, truncated files; each loads or gives a hint."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from refilm.backbones.cogvideox.sat import PREFIX, save_sat
from refilm.checkpoints import convert, describe, load_adapter, load_base, load_denoiser, load_transformer, read_card

from ..disk import limited_files
from ..model.tiny import SINCOS, adapter, transformer

SAFE = "diffusion_pytorch_model.safetensors"
DIFFUSERS = "transformer.transformer_blocks.0.attn1.to_q.lora_{}.weight"
LORA = {
    "pytorch_lora_weights": ("diffusers", {DIFFUSERS.format("A"): (4, 8), DIFFUSERS.format("B"): (8, 4)}),
    "kohya": ("kohya's scripts", {"lora_unet_transformer_blocks_0_attn1_to_q.lora_down.weight": (4, 8)}),
    "adapter_model": ("peft", {"base_model.model.blocks.0.attn1.to_q.lora_A.weight": (4, 8)}),
    "old": ("diffusers", {"transformer_blocks.0.attn1.processor.to_q_lora.lora.down.weight": (4, 8)}),
}


@pytest.mark.parametrize("name", LORA)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_lora_of_others_is_named_as_one(tmp_path, name, suffix):
    whose, shapes = LORA[name]
    tensors, file = {key: torch.ones(shape) for key, shape in shapes.items()}, tmp_path / "lora" / f"{name}{suffix}"
    file.parent.mkdir()
    save_file(tensors, file) if suffix == ".safetensors" else torch.save(tensors, file)
    for path in (file, file.parent):
        for read in (load_adapter, lambda path: convert(path, tmp_path / "out"), load_base):
            with pytest.raises(
                ValueError, match=f"a LoRA of {whose}, which refilm cannot use; refilm supports reference"
            ):
                read(path)
        assert describe(file).kind == f"a LoRA of {whose}"


def test_peft_writes_a_config(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ValueError, match="a LoRA of peft"):
        read_card(tmp_path)


def test_remedies_are_told_where_they_fit(tmp_path, tiny_base):
    """The hint names `convert` only for files that it supports."""
    save_sat(tmp_path / "s.pt", transformer(SINCOS), adapter(SINCOS), frames=9)
    save_sat(tmp_path / "sat", transformer(SINCOS), adapter(SINCOS), frames=9)
    save_file({"x": torch.ones(1)}, tmp_path / "plain.safetensors")
    for path in (tmp_path / "s.pt", tmp_path / "sat"):
        with pytest.raises(ValueError, match="convert it with: refilm convert"):
            load_adapter(path)
        assert convert(path, tmp_path / f"{path.name}-out").written
    with pytest.raises(
        ValueError, match=r"plain\.safetensors: is not an adapter's folder, which contains adapter\.json and"
    ):
        load_adapter(tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match=r"is the folder of a base model; its adapter is .*adapter$"):
        load_adapter(tiny_base)


@pytest.fixture
def folder(tiny_base, tmp_path):
    return shutil.copytree(tiny_base / "transformer", tmp_path / "transformer")


def same(folder, other):
    ours, theirs = load_transformer(folder).state_dict(), load_transformer(other).state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_variant_alone_is_loaded(folder, tiny_base):
    half, brain = (folder / SAFE.replace(".", f".{variant}.") for variant in ("fp16", "bf16"))
    (folder / SAFE).rename(half)
    assert same(folder, tiny_base / "transformer")
    shutil.copyfile(half, brain)
    with pytest.raises(ValueError, match="several variants of the weights, bf16, fp16; keep one"):
        load_transformer(folder)
    brain.rename(folder / SAFE)
    assert same(folder, tiny_base / "transformer")


@pytest.mark.parametrize(
    "shard",
    [
        "diffusion_pytorch_model.fp16-0000{}-of-00002.safetensors",
        "diffusion_pytorch_model-0000{}-of-00002.fp16.safetensors",
    ],
)
def test_a_variant_in_shards_is_loaded(folder, tiny_base, shard):
    """File names of newer and older releases of diffusers."""
    tensors = load_file(folder / SAFE)
    (folder / SAFE).unlink()
    places = {key: shard.format(1 + number % 2) for number, key in enumerate(tensors)}
    for file in set(places.values()):
        save_file({key: tensors[key] for key in tensors if places[key] == file}, folder / file)
    (folder / f"{SAFE}.index.fp16.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert same(folder, tiny_base / "transformer")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3387567568\n"


@pytest.mark.parametrize(
    ("content", "what"),
    [(POINTER, "is a Git LFS pointer"), (b"\n<!DOCTYPE html><html>sign in</html>", "is a web page")],
)
@pytest.mark.parametrize("name", ["transformer/" + SAFE, "tokenizer/tokenizer.json", "vae/" + SAFE])
def test_what_a_download_left_is_named(tiny_base, tmp_path, content, what, name):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{Path(name).name}: {what}, not the file itself; .* `hf download`"):
        load_base(base)
    (tmp_path / "3d-vae.pt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"3d-vae\.pt: {what}"):
        convert(tmp_path / "3d-vae.pt", tmp_path / "out")


@pytest.mark.parametrize("keep", [10_000, 100])
def test_a_cut_file_is_called_cut(folder, keep):
    data = (folder / SAFE).read_bytes()
    (folder / SAFE).write_bytes(data[:keep])
    with pytest.raises(ValueError, match=rf"{SAFE}: is truncated"):
        load_transformer(folder)


def test_a_checkpoint_of_sat_needs_no_latest(tmp_path):
    save_sat(tmp_path / "sat", transformer(SINCOS), adapter(SINCOS), frames=9)
    (tmp_path / "sat" / "latest").unlink()
    assert load_denoiser(tmp_path / "sat").adapter is not None
    shutil.copytree(tmp_path / "sat" / "1", tmp_path / "sat" / "2000")
    with pytest.raises(ValueError, match=r"sat/latest: no such file; create it .* one of 1, 2000"):
        load_denoiser(tmp_path / "sat")


@pytest.mark.parametrize("target", ["full.safetensors", "full.pt", "full"])
def test_a_full_disk_is_one_line_that_names_the_file(refilm, tmp_path, tiny_base, target):
    source = tiny_base if target == "full" else tiny_base / "adapter"
    with limited_files(100_000):
        result = refilm("convert", source, tmp_path / target)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert f"{tmp_path / target}" in line
    assert "exceeds the largest file size of this file system" in line or "disk is full" in line
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_refused(refilm, tmp_path, tiny_base):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("x")
    (tmp_path / "taken.pt").write_text("x")
    for target, what in (("taken", "is not empty"), ("taken.pt", "exists; choose a new name")):
        result = refilm("convert", tiny_base / "adapter", tmp_path / target)
        assert result.exit_code == 2
        assert what in result.stderr
    assert (tmp_path / "taken.pt").read_text() == (tmp_path / "taken" / "mine").read_text() == "x"


def test_the_pocket_model_is_converted_by_name(refilm, tmp_path):
    result = refilm("convert", "pocket", tmp_path / "out.safetensors")
    assert result.exit_code == 0, result.output
    assert "its adapter was not converted: it normalizes its queries" in result.output
    keys = load_file(tmp_path / "out.safetensors")
    assert f"{PREFIX}transformer.layers.7.mlp.dense_4h_to_h.weight" in keys
