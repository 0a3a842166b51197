"""Initializing an autoencoder with more channels from a trained one."""

import pytest
import torch
from torch import Tensor, nn

from refilm.pocket.autoencoder import AutoencoderSettings, make_autoencoder
from refilm.pocket.widening import widen


def fresh(*channels: int, **changes):
    torch.manual_seed(sum(channels))
    model = make_autoencoder(AutoencoderSettings(channels=channels, norm_groups=4, curriculum=(), **changes))
    for name, weight in model.named_parameters():
        if name.endswith(("norm1.weight", "norm_layer.weight", "bias")):
            nn.init.normal_(
                weight, std=0.5
            )  # a fresh norm treats all channels alike, which would hide mixed-up channels
    return model.eval()


def latents_of(model, video: Tensor) -> Tensor:
    return model.encode(video).mean


def decoded(model, latents: Tensor) -> Tensor:
    return model.decode(latents)


@torch.no_grad()
@pytest.mark.parametrize("wide", [(8, 24, 8, 16), (16, 16, 32, 16)])
def test_the_wide_one_gives_the_same_output(wide):
    narrow, wide = fresh(8, 8, 8, 16), fresh(*wide)
    video = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    latents = latents_of(narrow, video)
    assert not torch.allclose(latents_of(wide, video), latents, atol=1e-2)
    widen(narrow, wide)
    assert torch.allclose(latents_of(wide, video), latents, atol=1e-4)
    assert torch.allclose(decoded(wide, latents), decoded(narrow, latents), atol=1e-4)


def test_the_copies_of_a_channel_learn_different_things():
    narrow, wide = fresh(8, 8, 16), fresh(8, 16, 16)
    widen(narrow, wide)
    video = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    decoded(wide, latents_of(wide, video)).square().mean().backward()
    for name in ("encoder.down_blocks.1.resnets.0.conv1.conv", "decoder.up_blocks.1.resnets.0.conv1.conv"):
        grad = wide.get_parameter(f"{name}.bias").grad
        assert grad is not None
        assert not torch.allclose(grad[0::2], grad[1::2], rtol=1e-2), name


@pytest.mark.parametrize(
    ("channels", "changes", "message"),
    [
        ((8, 12, 16), {}, r"whole multiples of \(8, 8, 16\), received \(8, 12, 16\)"),
        ((8, 8, 8, 16), {}, r"whole multiples of \(8, 8, 16\)"),
        ((8, 16, 16), {"latent_channels": 4}, "latent_channels must be 16 as before, received 4"),
    ],
)
def test_one_of_another_shape_is_refused(channels, changes, message):
    with pytest.raises(ValueError, match=message):
        widen(fresh(8, 8, 16), fresh(*channels, **changes))
