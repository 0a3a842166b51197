"""Initializing an autoencoder for larger videos from a trained one."""

import pytest
import torch
from torch import Tensor, nn

from refilm.pocket.autoencoder import AutoencoderSettings, make_autoencoder
from refilm.pocket.growing import grow


def fresh(*channels: int, **changes):
    torch.manual_seed(len(channels))
    return make_autoencoder(AutoencoderSettings(channels=channels, curriculum=(), **changes)).eval()


def passing(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Lists of a module's inputs and outputs, filled from now on."""
    entered, left = [], []
    first = lambda value: value[0] if isinstance(value, tuple) else value  # noqa: E731
    module.register_forward_hook(lambda _, given, made: (entered.append(given[0]), left.append(first(made)))[0])
    return entered, left


@torch.no_grad()
def test_the_new_resolution_passes_its_input_on():
    small, grown = fresh(8, 16, 16), fresh(8, 8, 16, 16)
    grow(small, grown)
    entered, left = passing(grown.encoder.down_blocks[0])
    grown.encode(torch.randn(1, 3, 1, 16, 16))
    assert torch.allclose(left[0], nn.functional.avg_pool3d(entered[0], (1, 2, 2)), atol=1e-6)

    latents = torch.randn(1, 16, 3, 4, 4)
    (of_small, _), (of_grown, _) = passing(small.decoder.norm_out), passing(grown.decoder.norm_out)
    small.decode(latents)
    grown.decode(latents)
    doubled = of_small[0].repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.allclose(of_grown[0], doubled, atol=1e-5)


def test_every_weight_of_the_small_one_is_in_the_grown_one():
    small, grown = fresh(8, 16, 24), fresh(8, 8, 16, 24)
    grow(small, grown)
    here = [weight for weight in grown.state_dict().values() if weight.numel() > 1]
    for name, weight in small.state_dict().items():
        assert any(torch.equal(weight, other) for other in here if other.shape == weight.shape), name


@pytest.mark.parametrize(
    ("channels", "changes", "message"),
    [
        ((8, 16, 16), {}, r"channels must be \(8, 8, 16, 16\)"),
        ((8, 16, 16, 16), {}, r"channels must be \(8, 8, 16, 16\).*received"),
        ((8, 8, 16, 16), {"latent_channels": 4}, "latent_channels must be 16 .*received 4"),
        ((8, 8, 16, 16), {"temporal_compression": 2}, "temporal_compression must be 4 .*received 2"),
    ],
)
def test_one_of_another_shape_is_refused(channels, changes, message):
    with pytest.raises(ValueError, match=message):
        grow(fresh(8, 16, 16), fresh(*channels, **changes))


def test_one_with_too_few_resolutions_for_its_time_is_refused():
    with pytest.raises(ValueError, match="2 resolutions compress time less than 4 times"):
        grow(fresh(8, 16), fresh(8, 8, 16))
