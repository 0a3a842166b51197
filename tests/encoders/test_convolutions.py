"""Folded convolutions give the same results as diffusers' convolutions."""

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSafeConv3d
from hypothesis import given, settings
from hypothesis import strategies as st

from refilm.encoders import convolutions, fold
from refilm.encoders.convolutions import FoldedConv3d


def autoencoder() -> AutoencoderKLCogVideoX:
    torch.manual_seed(0)
    return AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 3,
        up_block_types=("CogVideoXUpBlock3D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
    ).eval()


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.sampled_from([(1, 1, 1), (3, 3, 3), (3, 1, 1), (1, 3, 3), (5, 3, 3)]),
    size=st.tuples(st.integers(5, 9), st.integers(3, 9), st.integers(3, 9)),
)
def test_one_convolution_and_its_gradients(batch, channels, kernel, size):
    torch.manual_seed(1)
    padding = (0, kernel[1] // 2, kernel[2] // 2)
    plain = CogVideoXSafeConv3d(*channels, kernel, padding=padding)
    folded = FoldedConv3d(*channels, kernel, padding=padding)
    folded.load_state_dict(plain.state_dict())
    given = torch.randn(batch, channels[0], *size)
    made, expected = folded(given), plain(given)
    assert made.shape == expected.shape
    assert torch.allclose(made, expected, atol=1e-5)
    weights = torch.randn_like(expected)
    for conv, result in ((folded, made), (plain, expected)):
        (result * weights).sum().backward()
        assert conv.weight.grad is not None
    assert torch.allclose(folded.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("latent_frames", [1 << 20, 2], ids=["at once", "in parts"])
def test_a_whole_autoencoder(latent_frames):
    plain, folded = autoencoder(), fold(autoencoder())
    assert {type(m) for m in folded.modules()} >= {FoldedConv3d}
    assert list(folded.state_dict()) == list(plain.state_dict())
    video = torch.rand(1, 3, 17, 16, 24) * 2 - 1
    with torch.no_grad():
        for model in (plain, folded):
            model.num_latent_frames_batch_size = latent_frames
        latents = plain.encode(video).latent_dist.mean
        assert torch.allclose(folded.encode(video).latent_dist.mean, latents, atol=1e-4)
        assert torch.allclose(folded.decode(latents).sample, plain.decode(latents).sample, atol=1e-4)


def test_large_inputs_are_not_folded(monkeypatch):
    folded, given = FoldedConv3d(2, 3, 3, padding=(0, 1, 1)), torch.randn(1, 2, 5, 4, 4)
    seen = []
    monkeypatch.setattr(convolutions.F, "conv2d", lambda *_, **__: seen.append("folded") or torch.zeros(3, 3, 4, 4))
    folded(given)
    assert seen == ["folded"]
    monkeypatch.setattr(convolutions, "LARGEST", given.nbytes)
    assert folded(given).abs().sum() > 0
    assert seen == ["folded"]
