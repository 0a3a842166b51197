"""The converted 3-D autoencoder compared with tensors from the original code."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from refilm.backbones.cogvideox.autoencoder import Autoencoder, VideoAutoencoder
from refilm.backbones.cogvideox.sat_autoencoder import SCALES, load_sat_autoencoder, sat_autoencoder_name

FIXTURES = Path(__file__).parent / "fixtures" / "vae"


@pytest.fixture(scope="module")
def io():
    return {name: tensor.float() for name, tensor in load_file(FIXTURES / "io.safetensors").items()}


def model():
    loaded = load_sat_autoencoder(FIXTURES / "3d-vae.pt", scaling_factor=SCALES["sincos"], dtype=torch.float32)
    return loaded.requires_grad_(False)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def test_sizes_are_read_off_the_shapes():
    found = model()
    assert (found.size.channels, found.size.layers, found.size.latent_channels) == ((32, 32, 64, 32), 1, 16)
    assert found.scaling_factor == 1.15258426
    with torch.device("meta"):
        published = Autoencoder()
    names = {sat_autoencoder_name(name, 4): list(w.shape) for name, w in published.state_dict().items()}
    listed = [line.split("\t") for line in (FIXTURES / "sat_keys_full.txt").read_text().splitlines()]
    assert names == {
        name: json.loads(shape.replace("(", "[").replace(",)", "]").replace(")", "]")) for name, shape in listed
    }


@pytest.mark.parametrize("frames", [1, 5, 8, 9, 10, 17, 33])
def test_encoding_in_one_go(io, frames):
    given = model()
    close(given.encoder(io[f"x_{frames}"]), io[f"moments_{frames}"])
    if f"mean_{frames}" in io:
        posterior = given.encode(io[f"x_{frames}"])
        close(posterior.mean, io[f"mean_{frames}"])
        close(posterior.logvar, io[f"logvar_{frames}"])


@pytest.mark.parametrize("name", ["1", "9", "17", "33", "2_latents", "4_latents"])
def test_decoding_in_one_go(io, name):
    close(model().decode(io[f"z_{name}"]), io[f"dec_{name}"])


@pytest.mark.parametrize("frames", [17, 33])
def test_decoding_in_the_originals_chunks(io, frames):
    close(model().decode(io[f"z_{frames}"], at_once=2), io[f"dec_{frames}_chunked"])


def test_through_our_own_door(io):
    """uint8 input and output, axis order and scale of the transformer."""
    autoencoder = VideoAutoencoder(model())
    video = torch.randint(0, 256, (1, 17, 32, 48, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, std = autoencoder.posterior(video)
    moments = autoencoder.model.encoder(video.permute(0, 4, 1, 2, 3) / 127.5 - 1)
    close(mean / 1.15258426, moments[:, :16].transpose(1, 2))
    close((std / 1.15258426).log() * 2, moments[:, 16:].transpose(1, 2))
    shown = autoencoder.decode(io["z_17"].transpose(1, 2) * 1.15258426)
    theirs = ((io["dec_17_chunked"].clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 4, 1)
    assert (shown - theirs).abs().max() <= 0.5 + 1e-2


@pytest.mark.parametrize("probe", ["enc_first", "enc_last", "dec_first", "dec_last"])
def test_epsilons(io, probe):
    given, levels = model(), 4
    scaled = set(json.loads((FIXTURES / "eps_probe.json").read_text())[probe]["parameters"])
    with torch.no_grad():
        found = [
            w.mul_(2**-10) for name, w in given.state_dict().items() if sat_autoencoder_name(name, levels) in scaled
        ]
    assert len(found) == len(scaled)
    ours = given.encoder(io["inter.x"]) if probe.startswith("enc") else given.decode(io["inter.z"])
    close(ours, io[f"eps.{probe}"])
    assert math.isfinite(ours.std())
