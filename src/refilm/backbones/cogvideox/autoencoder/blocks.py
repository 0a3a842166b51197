"""Residual blocks of the autoencoder, and the layers that halve and double resolutions.

Attributes have the names of the weights in diffusers' files. If the number of frames is odd, the first frame is kept
apart: 2k + 1 frames are halved to k + 1 and doubled to 4k + 1.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refilm.backbones.autoencoders import by_frame
from refilm.backbones.cogvideox.autoencoder.convolutions import CausalConv3d, Past
from refilm.backbones.convolutions import Conv3d

Norm = Callable[[int], nn.Module]
"""Creates the norm of a number of channels."""
Activation = Callable[[Tensor], Tensor]


class ResidualBlock(nn.Module):
    """Two convolutions, each after a norm and an activation, and a shortcut around both."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, activation: Activation):
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1, self.conv2 = CausalConv3d(inputs, outputs), CausalConv3d(outputs, outputs)
        self.conv_shortcut = nn.Identity() if inputs == outputs else Conv3d(inputs, outputs, 1)
        self.activation = activation

    def forward(self, x: Tensor, latents: Tensor | None = None, past: Past | None = None) -> Tensor:
        """(B, C, T, H, W), latents of the norms (B, Z, t, h, w) -> (B, C', T, H, W)."""
        y = self.conv1(self.activation(self.norm1(x, latents)), past)
        y = self.conv2(self.activation(self.norm2(y, latents)), past)
        return y + self.conv_shortcut(x)


class Blocks(nn.Module):
    """Residual blocks at one resolution, from `widths[0]` channels to `widths[-1]`."""

    def __init__(self, widths: Sequence[int], norm: Norm, activation: Activation):
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(*pair, norm, activation) for pair in pairwise(widths))

    def forward(self, x: Tensor, latents: Tensor | None = None, past: Past | None = None) -> Tensor:
        """(B, C, T, H, W), latents of the norms (B, Z, t, h, w) -> (B, C', T, H, W)."""
        for block in self.resnets:
            x = block(x, latents, past)
        return x


class DownBlocks(Blocks):
    """Residual blocks and, unless `time` is None, a `Downsample`, with or without time."""

    def __init__(self, widths: Sequence[int], norm: Norm, activation: Activation, *, time: bool | None):
        super().__init__(widths, norm, activation)
        self.downsamplers = nn.ModuleList([] if time is None else [Downsample(widths[-1], time=time)])

    def forward(self, x: Tensor, latents: Tensor | None = None, past: Past | None = None) -> Tensor:
        x = super().forward(x, latents, past)
        for downsample in self.downsamplers:
            x = downsample(x)
        return x


class UpBlocks(Blocks):
    """Residual blocks and, unless `time` is None, an `Upsample`, with or without time."""

    def __init__(self, widths: Sequence[int], norm: Norm, activation: Activation, *, time: bool | None):
        super().__init__(widths, norm, activation)
        self.upsamplers = nn.ModuleList([] if time is None else [Upsample(widths[-1], time=time)])

    def forward(self, x: Tensor, latents: Tensor | None = None, past: Past | None = None) -> Tensor:
        x = super().forward(x, latents, past)
        for upsample in self.upsamplers:
            x = upsample(x)
        return x


class Downsample(nn.Module):
    """Halves height and width by a convolution, and time, if wanted, by averaging pairs of frames."""

    def __init__(self, channels: int, *, time: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)
        self.time = time

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T', H/2, W/2)."""
        frames = x.shape[2]
        if self.time and frames > 1:
            first, rest = x.split([frames % 2, frames - frames % 2], dim=2)
            x = torch.cat([first, F.avg_pool3d(rest, (2, 1, 1))], dim=2)
        return by_frame(self.conv, F.pad(x, (0, 1, 0, 1)))  # padded on the right and below


class Upsample(nn.Module):
    """Doubles height and width and, if wanted, time, by repetition, then applies a convolution to each frame."""

    def __init__(self, channels: int, *, time: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.time = time

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T', 2 H, 2 W)."""
        frames = x.shape[2]
        x = by_frame(lambda frame: self.conv(F.interpolate(frame, scale_factor=2.0)), x)
        if self.time and frames > 1:  # after the convolution, which would give the same for both copies of a frame
            x = x.repeat_interleave(2, dim=2)[:, :, frames % 2 :]
        return x
