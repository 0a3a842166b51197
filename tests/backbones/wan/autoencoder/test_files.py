"""The folder of Wan's autoencoder: saved, loaded, written by diffusers, and refused where it is another or damaged."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file

from refilm.backbones.wan.autoencoder import compression_of, load_autoencoder, save_autoencoder
from refilm.backbones.wan.sizes import WanSize
from refilm.geometry import Compression

from .test_model import SIZES, fresh

SIZE = WanSize(layers=1, heads=1)
WEIGHTS = "diffusion_pytorch_model.safetensors"
REFUSED = {
    "another class": ({"_class_name": "AutoencoderKLX", "patch_size": 2}, "_class_name: "),
    "Wan 2.2": (
        {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "decoder_base_dim": 256},
        "this is Wan 2.2's autoencoder; refilm supports Wan 2.1's",
    ),
    "Wan 2.2 by its patches": ({"patch_size": 2}, "Wan 2.2"),
    "another decoder": ({"decoder_base_dim": 8}, "decoder_base_dim: "),
    "attention": ({"attn_scales": [0.5]}, "attn_scales: "),
    "other channels": ({"in_channels": 4}, "in_channels: "),
    "times": ({"temperal_downsample": [True, True]}, "temperal_downsample: must have one entry fewer than dim_mult"),
    "too wide": ({"base_dim": 65536}, "base_dim, dim_mult: more than 65536 channels"),
    "no multiples": ({"dim_mult": [], "temperal_downsample": []}, "dim_mult: "),
    "means": ({"latents_mean": [0.0]}, "latents_mean, latents_std: must have as many numbers as z_dim, 4"),
    "a deviation of zero": ({"latents_std": [1.0, 0.0, 1.0, 1.0]}, "latents_std.1: "),
    "a deviation that is not finite": ({"latents_std": [1.0, float("nan"), 1.0, 1.0]}, "latents_std.1: "),
    "too many layers": ({"num_res_blocks": 900}, "too few for the 900 layers"),
    "other weights": ({"base_dim": 8}, "has shape"),
    "code": ({"auto_map": {"AutoModel": "x.y"}}, "auto_map: "),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_saved_one_is_loaded_unchanged(tmp_path, size):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "notes.txt").write_text("kept")
    model = fresh(size)
    save_autoencoder(model, tmp_path / "vae")
    loaded = load_autoencoder(tmp_path / "vae")
    assert (loaded.size, loaded.mean, loaded.std) == (model.size, model.mean, model.std)
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in loaded.state_dict().items())
    assert (tmp_path / "vae" / "notes.txt").read_text() == "kept"


def test_one_of_diffusers_is_loaded(tmp_path):
    theirs = AutoencoderKLWan(
        base_dim=4, z_dim=2, dim_mult=[1, 2], temperal_downsample=[True], latents_mean=[0.5, 1], latents_std=[2, 3.5]
    )
    theirs.save_pretrained(tmp_path)
    ours = load_autoencoder(tmp_path, dtype=torch.bfloat16)
    assert (ours.mean, ours.std, ours.dtype) == ((0.5, 1.0), (2.0, 3.5), torch.bfloat16)
    assert all(torch.equal(w.bfloat16(), ours.state_dict()[name]) for name, w in theirs.state_dict().items())
    assert compression_of(tmp_path, replace(SIZE, patch=1, channels=2)) == Compression(space=2, time=2, patch=1)


def test_the_published_config_gives_the_published_compression(tmp_path):
    """Without the keys that diffusers added later."""
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}')
    assert compression_of(tmp_path, SIZE) == Compression(space=8, time=4, patch=2)


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_other_configs_are_refused(tmp_path, values, message):
    save_autoencoder(fresh(SIZES["as Wan"]), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(ValueError, match=f"^{tmp_path}") as error:
        load_autoencoder(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["missing", "surplus", "not finite", "no file", "truncated"])
def test_damaged_weights_are_refused(tmp_path, damage):
    save_autoencoder(fresh(SIZES["as Wan"]), tmp_path)
    path, key = tmp_path / WEIGHTS, "encoder.conv_in.weight"
    tensors = load_file(path)
    if damage == "missing":
        save_file({name: tensor for name, tensor in tensors.items() if name != key}, path)
    elif damage == "surplus":
        save_file(tensors | {"more": torch.zeros(1)}, path)
    elif damage == "not finite":
        save_file(tensors | {key: torch.full_like(tensors[key], torch.nan)}, path)
    elif damage == "no file":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=f"^{path}"):
        load_autoencoder(tmp_path)
