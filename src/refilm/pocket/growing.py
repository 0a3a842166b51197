"""Growing an autoencoder: one for videos of twice the height and width, begun as one that is trained already.

Beside the pixels comes a new resolution, which at first only passes on what it gets, halved on the way in and doubled
on the way out. What the small one learned need not be learned again.
"""

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor, nn


@torch.no_grad()
def grow(small: AutoencoderKLCogVideoX, grown: AutoencoderKLCogVideoX) -> None:
    """Begin `grown` as `small`.

    Args:
        small: one that is trained.
        grown: a fresh one with one resolution more, the finest, of as many channels as the finest of `small`.

    Raises:
        ValueError: they are not alike in all else, or `small` has too few resolutions to compress time as it says.
    """
    channels, time = tuple(small.config["block_out_channels"]), int(small.config["temporal_compression_ratio"])
    if 2 ** (len(channels) - 1) < time:
        raise ValueError(f"{len(channels)} resolutions compress time less than {time} times, and would more when grown")
    wanted = {name: small.config[name] for name in ("latent_channels", "layers_per_block", "norm_num_groups")}
    wanted |= {"temporal_compression_ratio": time}
    wanted |= {"block_out_channels": (channels[0], *channels)}
    for name, value in wanted.items():
        received = grown.config[name]
        if (tuple(received) if isinstance(value, tuple) else received) != value:
            raise ValueError(f"{name} must be {value} to grow from the smaller autoencoder, received {received}")
    kept = {_in_grown(name): weight for name, weight in small.state_dict().items()}
    unknown = grown.load_state_dict(kept, strict=False).unexpected_keys
    assert not unknown, unknown
    last = len(channels)
    for block in ("encoder.down_blocks.0", f"decoder.up_blocks.{last}"):
        for name, weight in grown.get_submodule(block).named_parameters():
            if ".conv2." in name:
                nn.init.zeros_(weight)
    average, same = torch.zeros(3, 3), torch.zeros(3, 3)
    average[:2, :2] = 0.25  # it pads on the right and below alone
    same[1, 1] = 1.0
    _become(grown.get_submodule("encoder.down_blocks.0.downsamplers.0.conv"), average)
    _become(grown.get_submodule(f"decoder.up_blocks.{last - 1}.upsamplers.0.conv"), same)


def _become(conv: nn.Module, kernel: Tensor) -> None:
    """Make a convolution apply `kernel` to each channel by itself."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    conv.weight.copy_(torch.eye(len(conv.weight))[:, :, None, None] * kernel)


def _in_grown(name: str) -> str:
    """A weight's name in the grown one: in the encoder, resolutions are counted from the finest."""
    start = "encoder.down_blocks."
    if not name.startswith(start):
        return name
    number, rest = name.removeprefix(start).split(".", 1)
    return f"{start}{int(number) + 1}.{rest}"
