"""Grows an autoencoder: initializes one for videos of twice the height and width from a trained one.

The grown autoencoder has one more resolution next to the pixels. Initially it only passes its input on, halved in the
encoder and doubled in the decoder, so what the small autoencoder learned is kept.
"""

import torch
from torch import Tensor, nn

from refilm.backbones.cogvideox.autoencoder import Autoencoder
from refilm.errors import UserError


@torch.no_grad()
def grow(small: Autoencoder, grown: Autoencoder) -> None:
    """Initialize `grown` from `small`.

    Args:
        small: a trained autoencoder.
        grown: a fresh one with one more resolution, the finest, which has as many channels as the finest of `small`.

    Raises:
        UserError: they differ in other ways, or `small` has too few resolutions for its temporal compression.
    """
    channels, time = small.size.channels, small.size.temporal_compression
    if 2 ** (len(channels) - 1) < time:
        raise UserError(
            f"{len(channels)} resolutions compress time less than {time} times, and would compress it more when grown; "
            "start from an autoencoder with more resolutions"
        )
    alike = ("latent_channels", "layers", "norm_groups", "temporal_compression")
    wanted = {name: getattr(small.size, name) for name in alike} | {"channels": (channels[0], *channels)}
    for name, value in wanted.items():
        received = getattr(grown.size, name)
        if received != value:
            raise UserError(f"{name} must be {value} to grow from the smaller autoencoder, received {received}")
    kept = {_in_grown(name): weight for name, weight in small.state_dict().items()}
    unknown = grown.load_state_dict(kept, strict=False).unexpected_keys
    assert not unknown, unknown
    last = len(channels)
    for block in ("encoder.down_blocks.0", f"decoder.up_blocks.{last}"):
        for name, weight in grown.get_submodule(block).named_parameters():
            if ".conv2." in name:
                nn.init.zeros_(weight)
    average, same = torch.zeros(3, 3), torch.zeros(3, 3)
    average[:2, :2] = 0.25  # it pads only on the right and below
    same[1, 1] = 1.0
    _set_kernel(grown.get_submodule("encoder.down_blocks.0.downsamplers.0.conv"), average)
    _set_kernel(grown.get_submodule(f"decoder.up_blocks.{last - 1}.upsamplers.0.conv"), same)


def _set_kernel(conv: nn.Module, kernel: Tensor) -> None:
    """Make a convolution apply `kernel` to each channel separately."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    conv.weight.copy_(torch.eye(len(conv.weight))[:, :, None, None] * kernel)


def _in_grown(name: str) -> str:
    """A weight's name in the grown autoencoder; in the encoder, resolutions are counted from the finest."""
    start = "encoder.down_blocks."
    if not name.startswith(start):
        return name
    number, rest = name.removeprefix(start).split(".", 1)
    return f"{start}{int(number) + 1}.{rest}"
