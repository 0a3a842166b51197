"""Widens an autoencoder: initializes one with more channels from a trained one.

Each channel is copied several times, and the next layer weights the copies unevenly, so that they learn different
things (Chen et al. 2016, Net2Net, arXiv 1511.05641, section 2.3). The statistics of the group norms stay the same,
because the copies of a channel are adjacent.
"""

import torch
from torch import Tensor

from refilm.backbones.cogvideox.autoencoder import Autoencoder
from refilm.errors import UserError


@torch.no_grad()
def widen(narrow: Autoencoder, wide: Autoencoder) -> None:
    """Initialize `wide` from `narrow`, so that both give the same output for every clip.

    Args:
        narrow: a trained autoencoder.
        wide: a fresh one whose channels are, at each resolution, a whole multiple of those of `narrow`.

    Raises:
        UserError: they differ in other ways, or some channels are no multiple.
    """
    for name in ("latent_channels", "layers", "norm_groups", "temporal_compression"):
        wanted, received = getattr(narrow.size, name), getattr(wide.size, name)
        if received != wanted:
            raise UserError(f"{name} must be {wanted} as before, received {received}")
    before, after = narrow.size.channels, wide.size.channels
    if len(before) != len(after) or any(new % old for old, new in zip(before, after, strict=True)):
        raise UserError(f"channels must be whole multiples of {before}, received {after}")
    known, generator = narrow.state_dict(), torch.Generator().manual_seed(0)
    for name, weight in wide.state_dict().items():
        old = known.get(name)
        weight.copy_(_widened(_identity(name, known) if old is None else old, weight.shape, generator))


def _identity(name: str, known: dict[str, Tensor]) -> Tensor:
    """The weight of an identity shortcut, which a block has only where its channels change."""
    block, part = name.split(".conv_shortcut.")
    channels = len(known[f"{block}.conv1.conv.bias"])
    return torch.zeros(channels) if part == "bias" else torch.eye(channels)[:, :, None, None, None]


def _widened(weight: Tensor, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """A weight with more output channels, all equal copies, and more input channels, each with its fraction."""
    weight = weight.repeat_interleave(shape[0] // len(weight), 0)
    if weight.ndim == 1 or shape[1] == weight.shape[1]:
        return weight
    copies = shape[1] // weight.shape[1]
    fractions = (0.5 * torch.randn(*weight.shape[:2], copies, generator=generator)).softmax(-1).flatten(1)
    return weight.repeat_interleave(copies, 1) * fractions.view(*fractions.shape, *[1] * (weight.ndim - 2))
