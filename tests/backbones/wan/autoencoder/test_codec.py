import pytest
import torch

from refilm.backbones.wan.autoencoder import VideoAutoencoder, load_codec, save_autoencoder
from refilm.backbones.wan.sizes import WanSize

from .test_model import SIZES, assert_close, fresh

SIZE = WanSize(layers=1, heads=1)


@pytest.fixture(scope="module")
def model():
    return fresh(SIZES["as Wan"])


@pytest.mark.parametrize(("frames", "latent_frames"), [(1, 1), (5, 2), (9, 3), (13, 4)])
@pytest.mark.parametrize("decode_frames", [None, 1, 2])
def test_every_4k_plus_1_frames_come_back_as_many(model, frames, latent_frames, decode_frames):
    autoencoder = VideoAutoencoder(model, decode_frames=decode_frames)
    video = torch.randint(0, 256, (2, frames, 16, 24, 3), dtype=torch.uint8)
    mean, std = autoencoder.posterior(video)
    assert mean.shape == std.shape == (2, latent_frames, 4, 2, 3)
    assert autoencoder.decode(mean).shape == video.shape


def test_other_numbers_of_frames_are_refused(model):
    with pytest.raises(ValueError, match=r"10 frames: the number must be 4k \+ 1, for instance 9 or 13"):
        VideoAutoencoder(model).posterior(torch.zeros(1, 10, 16, 16, 3, dtype=torch.uint8))


@torch.no_grad()
def test_latents_and_pixels_are_those_of_the_model(model):
    """Normalization in both directions, axis order, pixel range; mean and deviation as in diffusers' pipeline."""
    autoencoder = VideoAutoencoder(model)
    video = torch.randint(0, 256, (1, 9, 16, 24, 3), dtype=torch.uint8)
    mean, std = autoencoder.posterior(video)
    posterior = model.encode(video.permute(0, 4, 1, 2, 3).float() / 255 * 2 - 1)
    shift, scale = (torch.tensor(values).view(1, -1, 1, 1, 1) for values in (model.mean, model.std))
    assert_close(mean.transpose(1, 2), (posterior.mean - shift) / scale)
    assert_close(std.transpose(1, 2), posterior.std / scale)
    shown = ((model.decode(posterior.mean) / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 4, 1)
    assert (autoencoder.decode(mean).int() - shown.int()).abs().max() <= 1


def test_mean_and_deviation_identify_the_scaling(model):
    assert VideoAutoencoder(model).scaling == (*model.mean, *model.std)


def test_it_is_loaded_with_its_number_of_frames(model, tmp_path):
    save_autoencoder(model, tmp_path)
    codec = load_codec(tmp_path, SIZE, dtype=torch.float16, device="cpu", decode_frames=3)
    assert (codec.decode_frames, codec.model.dtype) == (3, torch.float16)


def test_pixels_that_are_not_finite_are_an_error(model):
    with pytest.raises(FloatingPointError, match="the autoencoder gave NaN or infinity"):
        VideoAutoencoder(model).decode(torch.full((1, 3, 4, 2, 2), torch.nan))
