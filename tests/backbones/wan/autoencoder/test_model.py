"""Wan's autoencoder compared with diffusers' with the same weights, and in parts with all at once."""

import pytest
import torch
from diffusers import AutoencoderKLWan

from refilm.backbones.wan.autoencoder import Autoencoder, AutoencoderSize, load_autoencoder, save_autoencoder
from refilm.backbones.wan.autoencoder.files import AutoencoderFields

SIZES = {
    "as Wan": AutoencoderSize(base=4, multiples=(1, 2, 4, 4), layers=2, latent_channels=4),
    "other values": AutoencoderSize(
        base=6, multiples=(2, 1, 3), halves_time=(True, False), layers=1, latent_channels=3
    ),
}


def fresh(size: AutoencoderSize) -> Autoencoder:
    torch.manual_seed(0)
    channels = range(size.latent_channels)
    model = Autoencoder(size, mean=tuple(0.1 * n - 0.2 for n in channels), std=tuple(0.5 + n for n in channels))
    for name, weight in model.named_parameters():
        if "gamma" in name:
            torch.nn.init.normal_(weight, mean=0.5)  # a fresh norm treats all channels alike
    model.decoder.conv_out.weight.data /= 4  # pixels within -1..1, where diffusers cuts them off
    return model.eval()


@pytest.fixture(scope="module", params=SIZES)
def both(request, tmp_path_factory):
    """A model, and diffusers' model loaded from its files."""
    ours, folder = fresh(SIZES[request.param]), tmp_path_factory.mktemp("vae")
    save_autoencoder(ours, folder)
    theirs, notes = AutoencoderKLWan.from_pretrained(folder, output_loading_info=True)
    assert not any(notes.values())
    return ours, theirs


def assert_close(made, expected):
    assert made.shape == expected.shape
    assert (made - expected).norm() <= 1e-5 * expected.norm()


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 9, 17])
@pytest.mark.parametrize("at_once", [None, 1, 2])
def test_latents_are_those_of_diffusers(both, frames, at_once):
    ours, theirs = both
    video = torch.rand(2, 3, frames, 16, 24) * 2 - 1
    made, expected = ours.encode(video, at_once=at_once), theirs.encode(video).latent_dist
    if ours.size.compression.time == 4:
        assert made.mean.shape[2] == (frames - 1) // 4 + 1
    for name in ("mean", "logvar", "std", "var"):
        assert_close(getattr(made, name), getattr(expected, name))


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize("at_once", [None, 1, 2])
def test_videos_are_those_of_diffusers(both, frames, at_once):
    ours, theirs = both
    latents = torch.randn(2, ours.size.latent_channels, frames, 2, 3)
    made = ours.decode(latents, at_once=at_once)
    assert made.shape[2] == ours.size.compression.frames(frames)
    assert made.abs().max() < 1
    assert_close(made, theirs.decode(latents).sample)


@torch.no_grad()
def test_frames_depend_on_no_later_ones(both):
    ours, _ = both
    video, latents = torch.rand(1, 3, 9, 16, 16), torch.randn(1, ours.size.latent_channels, 3, 2, 2)
    time = ours.size.compression.time
    whole, shorter = ours.encode(video).mean, ours.encode(video[:, :, :5]).mean
    assert_close(whole[:, :, : shorter.shape[2]], shorter)
    assert_close(ours.decode(latents)[:, :, : time + 1], ours.decode(latents[:, :, :2]))


def test_gradients_are_those_of_diffusers(both):
    ours, theirs = both
    video, grads = torch.rand(1, 3, 9, 16, 16) * 2 - 1, []
    theirs_decoded = theirs.decode(theirs.encode(video).latent_dist.mean).sample
    for model, decoded in ((ours, ours.decode(ours.encode(video).mean)), (theirs, theirs_decoded)):
        decoded.square().mean().backward()
        grads.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
        model.zero_grad()
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        assert (grad - grads[1][name]).norm() <= 1e-4 * grad.norm(), name


def test_the_published_values_are_the_defaults():
    fields = AutoencoderFields()
    with torch.device("meta"):
        ours, theirs = Autoencoder(AutoencoderSize(), mean=(), std=()), AutoencoderKLWan()
    assert fields.size == ours.size
    assert {name: w.shape for name, w in ours.state_dict().items()} == {
        name: w.shape for name, w in theirs.state_dict().items()
    }
    assert list(fields.latents_mean) == theirs.config["latents_mean"]
    assert list(fields.latents_std) == theirs.config["latents_std"]


@torch.no_grad()
def test_half_precision_is_that_of_diffusers(tmp_path):
    save_autoencoder(fresh(SIZES["as Wan"]), tmp_path)
    ours = load_autoencoder(tmp_path, dtype=torch.bfloat16)
    theirs = AutoencoderKLWan.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    video = (torch.rand(1, 3, 5, 16, 16) * 2 - 1).bfloat16()
    made, expected = ours.encode(video, at_once=1).mean, theirs.encode(video).latent_dist.mean
    assert made.dtype == torch.bfloat16
    assert (made - expected).norm() <= 0.02 * expected.norm()
