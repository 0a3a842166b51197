import pytest
import torch
from diffusers import AutoencoderKLCogVideoX

from refilm.encoders import VideoAutoencoder


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 3,
        up_block_types=("CogVideoXUpBlock3D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.7,
    ).eval()


@pytest.mark.parametrize(("frames", "latent_frames"), [(1, 1), (5, 2), (9, 3), (13, 4), (17, 5)])
def test_every_4k_plus_1_frames_come_back_as_many(model, frames, latent_frames):
    autoencoder = VideoAutoencoder(model, decode_frames=None)
    video = torch.randint(0, 256, (2, frames, 16, 24, 3), dtype=torch.uint8)
    mean, std = autoencoder.posterior(video)
    assert mean.shape == std.shape == (2, latent_frames, 16, 4, 6)
    assert autoencoder.decode(mean).shape == video.shape


def test_other_numbers_of_frames_are_refused(model):
    with pytest.raises(ValueError, match=r"10 frames: the number must be 4k \+ 1, for instance 9 or 13"):
        VideoAutoencoder(model).posterior(torch.zeros(1, 10, 16, 16, 3, dtype=torch.uint8))


def test_latents_and_pixels_are_what_diffusers_gives(model):
    """Encoding of all frames at once, scaling in both directions, axis order, pixel range."""
    autoencoder = VideoAutoencoder(model, decode_frames=None)
    video = torch.randint(0, 256, (1, 9, 16, 16, 3), dtype=torch.uint8)
    mean, _ = autoencoder.posterior(video)
    with torch.no_grad():
        pixels = video.permute(0, 4, 1, 2, 3).float() / 255 * 2 - 1
        theirs = model._encode(pixels).chunk(2, dim=1)[0]
        decoded = model.decode(theirs).sample
    assert torch.allclose(mean.transpose(1, 2) / 0.7, theirs, atol=1e-5)
    shown = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 4, 1)
    assert (autoencoder.decode(mean).int() - shown.int()).abs().max() <= 1
