from dataclasses import replace

import pytest
import torch

from refilm.backbones.cogvideox.autoencoder import Autoencoder, AutoencoderSize, VideoAutoencoder


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    size = AutoencoderSize(channels=(8, 16, 16), layers=1, norm_groups=4)
    return Autoencoder(size, scaling_factor=0.7).eval()


@pytest.mark.parametrize(("frames", "latent_frames"), [(1, 1), (5, 2), (9, 3), (13, 4), (17, 5)])
@pytest.mark.parametrize("decode_frames", [None, 2])
def test_every_4k_plus_1_frames_come_back_as_many(model, frames, latent_frames, decode_frames):
    autoencoder = VideoAutoencoder(model, decode_frames=decode_frames)
    video = torch.randint(0, 256, (2, frames, 16, 24, 3), dtype=torch.uint8)
    mean, std = autoencoder.posterior(video)
    assert mean.shape == std.shape == (2, latent_frames, 16, 4, 6)
    assert autoencoder.decode(mean).shape == video.shape


def test_other_numbers_of_frames_are_refused(model):
    with pytest.raises(ValueError, match=r"10 frames: the number must be 4k \+ 1, for instance 9 or 13"):
        VideoAutoencoder(model).posterior(torch.zeros(1, 10, 16, 16, 3, dtype=torch.uint8))


@pytest.mark.parametrize(("frames", "latent_frames"), [(1, 2), (9, 4), (17, 6)])
@pytest.mark.parametrize("decode_frames", [None, 2])
def test_a_token_of_two_latent_frames_has_the_first_one_twice(model, frames, latent_frames, decode_frames):
    compression = replace(model.size.compression, patch_time=2)
    plain, spanning = (VideoAutoencoder(model, each, decode_frames=decode_frames) for each in (None, compression))
    video = torch.randint(0, 256, (2, frames, 16, 24, 3), dtype=torch.uint8)
    for found, expected in zip(spanning.posterior(video), plain.posterior(video), strict=True):
        assert found.shape[1] == latent_frames
        assert torch.equal(found[:, 0], expected[:, 0])
        assert torch.equal(found[:, 1:], expected)
    latents = torch.randn(2, latent_frames, 16, 4, 6)
    assert torch.equal(spanning.decode(latents), plain.decode(latents[:, 1:]))
    with pytest.raises(ValueError, match=r"13 frames: the number must be 8k \+ 1, for instance 9 or 17"):
        spanning.posterior(torch.zeros(1, 13, 16, 16, 3, dtype=torch.uint8))


@torch.no_grad()
def test_latents_and_pixels_are_those_of_the_model(model):
    """Encoding of all frames at once, scaling in both directions, axis order, pixel range."""
    autoencoder = VideoAutoencoder(model, decode_frames=2)
    video = torch.randint(0, 256, (1, 17, 16, 16, 3), dtype=torch.uint8)
    mean, std = autoencoder.posterior(video)
    posterior = model.encode(video.permute(0, 4, 1, 2, 3).float() / 255 * 2 - 1)
    assert torch.allclose(mean.transpose(1, 2) / 0.7, posterior.mean, atol=1e-5)
    assert torch.allclose(std.transpose(1, 2) / 0.7, posterior.std, atol=1e-5)
    decoded = model.decode(posterior.mean, at_once=2)
    shown = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 4, 1)
    assert (autoencoder.decode(mean).int() - shown.int()).abs().max() <= 1


@torch.no_grad()
def test_an_even_number_of_latents_is_decoded_with_the_last_repeated(model):
    autoencoder = VideoAutoencoder(model, decode_frames=None)
    latents = torch.randn(1, 4, 16, 2, 2)
    longer = autoencoder.decode(torch.cat([latents, latents[:, -1:]], dim=1))
    assert torch.equal(autoencoder.decode(latents), longer[:, :13])


def test_pixels_that_are_not_finite_are_an_error(model):
    with pytest.raises(FloatingPointError, match="the autoencoder gave NaN or infinity"):
        VideoAutoencoder(model).decode(torch.full((1, 3, 16, 2, 2), torch.nan))
