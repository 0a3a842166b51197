"""The autoencoder compared with diffusers' with the same weights."""

import json

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX

from refilm.backbones.cogvideox.autoencoder import Autoencoder, AutoencoderSize, load_autoencoder, save_autoencoder

SIZES = {
    "as CogVideoX": AutoencoderSize(channels=(8, 16, 16, 24), layers=2, norm_groups=4),
    "other values": AutoencoderSize(
        channels=(8, 8, 16),
        latent_channels=4,
        layers=1,
        norm_groups=8,
        norm_eps=1e-2,
        activation="gelu",
        temporal_compression=2,
        height=32,
        width=48,
    ),
}


def fresh(size: AutoencoderSize) -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(size, scaling_factor=0.7).eval()
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weight, mean=0.5)  # a fresh norm treats all channels alike
    return model


@pytest.fixture(scope="module", params=SIZES)
def both(request, tmp_path_factory):
    """A model, and diffusers' model loaded from its files."""
    ours, folder = fresh(SIZES[request.param]), tmp_path_factory.mktemp("vae")
    save_autoencoder(ours, folder)
    theirs, notes = AutoencoderKLCogVideoX.from_pretrained(folder, output_loading_info=True)
    assert not any(notes.values())
    theirs.num_sample_frames_batch_size = 1 << 20  # as the original code encodes
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 8, 9, 17])
def test_latents_are_those_of_diffusers(both, frames):
    ours, theirs = both
    video = torch.rand(2, 3, frames, 16, 24) * 2 - 1
    made, expected = ours.encode(video), theirs.encode(video).latent_dist
    for name in ("mean", "logvar", "std", "var"):
        assert torch.allclose(getattr(made, name), getattr(expected, name), atol=1e-4), name


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("at_once", [None, 2, 3])
def test_videos_are_those_of_diffusers(both, frames, at_once):
    ours, theirs = both
    theirs.num_latent_frames_batch_size = at_once or 1 << 20
    latents = torch.randn(2, ours.size.latent_channels, frames, 2, 3)
    made, expected = ours.decode(latents, at_once=at_once), theirs.decode(latents).sample
    assert made.shape == expected.shape
    assert torch.allclose(made, expected, atol=1e-4)


def test_gradients_are_those_of_diffusers(both):
    ours, theirs = both
    theirs.num_latent_frames_batch_size = 1 << 20
    video, grads = torch.rand(1, 3, 9, 16, 16) * 2 - 1, []
    theirs_decoded = theirs.decode(theirs.encode(video).latent_dist.mean).sample
    for model, decoded in ((ours, ours.decode(ours.encode(video).mean)), (theirs, theirs_decoded)):
        decoded.square().mean().backward()
        grads.append({name: weight.grad for name, weight in model.named_parameters()})
        model.zero_grad()
    for name, grad in grads[0].items():
        assert torch.allclose(grad, grads[1][name], rtol=1e-3, atol=1e-5), name


def test_random_weights_are_those_of_diffusers():
    """The same seed gives the same initialization, so that trainings are comparable."""
    size = SIZES["as CogVideoX"]
    torch.manual_seed(0)
    ours = Autoencoder(size).state_dict()
    torch.manual_seed(0)
    levels = len(size.channels)
    theirs = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * levels,
        up_block_types=("CogVideoXUpBlock3D",) * levels,
        block_out_channels=size.channels,
        layers_per_block=size.layers,
        norm_num_groups=size.norm_groups,
    ).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_the_published_size_is_the_default(tmp_path):
    with torch.device("meta"):
        ours, theirs = Autoencoder(), AutoencoderKLCogVideoX()
    shapes = {name: weight.shape for name, weight in ours.state_dict().items()}
    assert shapes == {name: weight.shape for name, weight in theirs.state_dict().items()}
    assert ours.scaling_factor == theirs.config["scaling_factor"]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_saved_one_is_loaded_unchanged(tmp_path, size):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "notes.txt").write_text("kept")
    model = fresh(size)
    save_autoencoder(model, tmp_path / "vae")
    loaded = load_autoencoder(tmp_path / "vae")
    assert loaded.size == size
    assert loaded.scaling_factor == 0.7
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in loaded.state_dict().items())
    assert (tmp_path / "vae" / "notes.txt").read_text() == "kept"
    assert json.loads((tmp_path / "vae" / "config.json").read_text())["_class_name"] == "AutoencoderKLCogVideoX"
