"""Blocks of the autoencoder, and the layers that halve and double resolutions.

Attributes have the names of the weights in diffusers' files. Each layer sees a frame and those before it, no later
one, and norms and attention see single frames. So a video can be processed in parts, with the same result, if the
layers that read earlier frames keep them: that is `past`, a dictionary for one video that each part updates. The first
frame of a video is kept apart: 2k + 1 frames are halved to k + 1, and k + 1 are doubled to 2k + 1.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refilm.backbones.autoencoders import by_frame
from refilm.backbones.convolutions import Conv3d
from refilm.backbones.wan.autoencoder.convolutions import CausalConv3d, Past

_OVER_TIME = (3, 1, 1)  # kernel of the convolutions that halve and double time


class Norm(nn.Module):
    """Root-mean-square norm of the channels, without a bias; computed in float32.

    Args:
        channels: number of channels.
        axes: axes after the channels: 3 for videos, 2 for images.
    """

    def __init__(self, channels: int, axes: int = 3):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * axes))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        return F.normalize(x.float(), dim=1).to(x.dtype) * len(self.gamma) ** 0.5 * self.gamma


class ResidualBlock(nn.Module):
    """Two convolutions, each after a norm and an activation, and a shortcut around both."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm1, self.norm2 = Norm(inputs), Norm(outputs)
        self.conv1, self.conv2 = CausalConv3d(inputs, outputs), CausalConv3d(outputs, outputs)
        self.conv_shortcut = nn.Identity() if inputs == outputs else Conv3d(inputs, outputs, 1)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H, W)."""
        y = self.conv1(F.silu(self.norm1(x)), past)
        y = self.conv2(F.silu(self.norm2(y)), past)
        return y + self.conv_shortcut(x)


class FrameAttention(nn.Module):
    """Self-attention with one head among the pixels of each frame."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = Norm(channels, axes=2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        return x + by_frame(self._attend, x)

    def _attend(self, frames: Tensor) -> Tensor:
        pixels = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2)[:, None]  # (B T, 1, H W, 3 C)
        y = F.scaled_dot_product_attention(*pixels.chunk(3, dim=-1))[:, 0]
        return self.proj(y.transpose(1, 2).unflatten(2, frames.shape[-2:]))


class MiddleBlock(nn.Module):
    """Two residual blocks with attention between them."""

    def __init__(self, channels: int):
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(channels, channels) for _ in range(2))
        self.attentions = nn.ModuleList([FrameAttention(channels)])

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        first, last = self.resnets
        return last(self.attentions[0](first(x, past)), past)


class UpBlock(nn.Module):
    """Residual blocks from `widths[0]` channels to `widths[-1]` and, unless `time` is None, an `Upsample`."""

    def __init__(self, widths: Sequence[int], *, time: bool | None):
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(*pair) for pair in pairwise(widths))
        self.upsamplers = nn.ModuleList([] if time is None else [Upsample(widths[-1], time=time)])

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T', H', W')."""
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x, past)
        return x


class Downsample(nn.Module):
    """Halves height and width and, if wanted, time, each by a convolution."""

    def __init__(self, channels: int, *, time: bool):
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        self.time_conv = nn.Conv3d(channels, channels, _OVER_TIME, stride=(2, 1, 1)) if time else None

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T', H/2, W/2). Time is halved of 2k + 1 frames, in later parts of 2k."""
        x = by_frame(self.resample, x)
        return x if self.time_conv is None else self._halved(self.time_conv, x, past)

    def _halved(self, conv: nn.Conv3d, x: Tensor, past: Past | None) -> Tensor:
        """The first frame is unchanged; each later pair becomes one frame, which also depends on the frame before."""
        known = None if past is None else past.get(self)
        if past is not None:
            past[self] = x[:, :, -1:].clone()
        if known is not None:
            return conv(torch.cat([known, x], dim=2))
        return x if x.shape[2] == 1 else torch.cat([x[:, :, :1], conv(x)], dim=2)


class Upsample(nn.Module):
    """Doubles time, if wanted, by a convolution; then doubles height and width and halves the channels."""

    def __init__(self, channels: int, *, time: bool):
        super().__init__()
        self.resample = nn.Sequential(nn.Upsample(scale_factor=2.0), nn.Conv2d(channels, channels // 2, 3, padding=1))
        self.time_conv = CausalConv3d(channels, 2 * channels, _OVER_TIME) if time else None

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C/2, T', 2 H, 2 W)."""
        if self.time_conv is not None:
            x = self._doubled(self.time_conv, x, past)
        return by_frame(self.resample, x)

    def _doubled(self, conv: CausalConv3d, x: Tensor, past: Past | None) -> Tensor:
        """Each frame becomes two, except for the first one, which is unchanged and hidden from the convolution."""
        first = x[:, :, :1] if past is None or conv not in past else None
        if first is not None:
            x = torch.cat([torch.zeros_like(first), x[:, :, 1:]], dim=2)
        pairs = conv(x, past).unflatten(1, (2, -1))  # (B, 2, C, T, H, W)
        doubled = pairs.movedim(1, 3).flatten(2, 3)  # (B, C, 2 T, H, W)
        return doubled if first is None else torch.cat([first, doubled[:, :, 2:]], dim=2)
