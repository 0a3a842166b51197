"""Widening an autoencoder: one of more channels, begun as one that is trained already.

Each channel is there several times at first, and what reads it reads a part of each copy, by uneven shares, so that the
copies learn different things (Chen et al. 2016, Net2Net, arXiv 1511.05641, section 2.3). A group norm sees the same
statistics, for the copies of a channel lie side by side.
"""

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor


@torch.no_grad()
def widen(narrow: AutoencoderKLCogVideoX, wide: AutoencoderKLCogVideoX) -> None:
    """Begin `wide` as `narrow`: it makes the same of every clip.

    Args:
        narrow: one that is trained.
        wide: a fresh one, each resolution of which has a whole multiple of the channels.

    Raises:
        ValueError: they are not alike in all else, or some channels are no multiple.
    """
    alike = ("latent_channels", "layers_per_block", "norm_num_groups", "temporal_compression_ratio")
    for name in alike:
        if wide.config[name] != narrow.config[name]:
            raise ValueError(f"{name} must be {narrow.config[name]} as before, received {wide.config[name]}")
    before, after = tuple(narrow.config["block_out_channels"]), tuple(wide.config["block_out_channels"])
    if len(before) != len(after) or any(new % old for old, new in zip(before, after, strict=True)):
        raise ValueError(f"block_out_channels must be whole multiples of {before}, received {after}")
    known, generator = narrow.state_dict(), torch.Generator().manual_seed(0)
    for name, weight in wide.state_dict().items():
        old = known.get(name)
        weight.copy_(_widened(_passing_on(name, known) if old is None else old, weight.shape, generator))


def _passing_on(name: str, known: dict[str, Tensor]) -> Tensor:
    """The shortcut that a block has no need of while its channels stay as many."""
    block, part = name.split(".conv_shortcut.")
    channels = len(known[f"{block}.conv1.conv.bias"])
    return torch.zeros(channels) if part == "bias" else torch.eye(channels)[:, :, None, None, None]


def _widened(weight: Tensor, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """A weight for more channels out, all alike, and more in, each of which counts for its share."""
    weight = weight.repeat_interleave(shape[0] // len(weight), 0)
    if weight.ndim == 1 or shape[1] == weight.shape[1]:
        return weight
    copies = shape[1] // weight.shape[1]
    shares = (0.5 * torch.randn(*weight.shape[:2], copies, generator=generator)).softmax(-1).flatten(1)
    return weight.repeat_interleave(copies, 1) * shares.view(*shares.shape, *[1] * (weight.ndim - 2))
