"""`refilm convert` and `refilm info`."""

import json

from refilm.checkpoints import load_adapter


def test_info_describes_the_parts(refilm, tiny_base):
    result = refilm("info", tiny_base)
    assert result.exit_code == 0, result.output
    for words in ("base model", "T5EncoderModel", "CLIPVisionModel", "AutoencoderKLCogVideoX", "adapter"):
        assert words in result.stdout
    assert json.loads((tiny_base / "adapter" / "adapter.json").read_text())["base_fingerprint"] in result.stdout


def test_info_refuses_what_is_no_weights(refilm, tmp_path):
    result = refilm("info", tmp_path / "nothing")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nothing: no such file or folder" in result.stderr
    (tmp_path / "model_index.json").write_text("{}")
    result = refilm("info", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{tmp_path}: contains no part of a base model (transformer, text_encoder, " in result.stderr


def test_an_adapter_goes_to_the_research_codes_format_and_back(refilm, tiny_base, tmp_path):
    adapter, there, back = tiny_base / "adapter", tmp_path / "sat.safetensors", tmp_path / "back"
    assert refilm("convert", adapter, there).exit_code == 0
    result = refilm("convert", there, back, "--adapter-only", "--base", tiny_base)
    assert result.exit_code == 0, result.output
    assert "SAT checkpoint -> adapter" in result.stdout
    one, other = load_adapter(adapter).state_dict(), load_adapter(back).state_dict()
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def test_what_exists_is_not_converted_onto_itself(refilm, tiny_base):
    result = refilm("convert", tiny_base / "adapter", tiny_base / "adapter")
    assert result.exit_code == 2
    assert "is the source of the conversion; choose another target" in result.stderr
