"""Wan 2.1's causal 3-D autoencoder: converts videos to latents and back. Does not normalize latents, nor read files.

Letters: B videos, F frames, H x W pixels in -1..1; T latent frames, C latent channels, h x w latent pixels. Weights
have the same names as in diffusers' files. Videos can be encoded and decoded in parts, see `blocks`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refilm.backbones.autoencoders import Posterior
from refilm.backbones.convolutions import Conv3d
from refilm.backbones.wan.autoencoder.blocks import Downsample, MiddleBlock, Norm, ResidualBlock, UpBlock
from refilm.backbones.wan.autoencoder.convolutions import CausalConv3d, Past
from refilm.geometry import Compression


@dataclass(frozen=True)
class AutoencoderSize:
    """All sizes that determine the weights of an autoencoder. The defaults are Wan 2.1's."""

    base: int = 96
    """Channels after the first convolution."""
    multiples: tuple[int, ...] = (1, 2, 4, 4)
    """Channels of each resolution as multiples of `base`, finest first; each further entry halves height and width."""
    halves_time: tuple[bool, ...] = (False, True, True)
    """Whether the encoder halves time too, after each resolution except for the coarsest one."""
    layers: int = 2
    """Residual blocks per resolution in the encoder; the decoder has one more."""
    latent_channels: int = 16

    @property
    def widths(self) -> list[int]:
        """Channels of each resolution, finest first."""
        return [self.base * multiple for multiple in self.multiples]

    @property
    def compression(self) -> Compression:
        """The compression factors."""
        return Compression(2 ** len(self.halves_time), 2 ** sum(self.halves_time))


class Encoder(nn.Module):
    """From pixels to the mean and the logarithm of the variance of latents."""

    def __init__(self, size: AutoencoderSize):
        super().__init__()
        widths, blocks = size.widths, list[nn.Module]()
        for level, (before, width) in enumerate(pairwise([size.base, *widths])):
            blocks += [ResidualBlock(*pair) for pair in pairwise([before, *[width] * size.layers])]
            blocks += [Downsample(width, time=time) for time in size.halves_time[level : level + 1]]
        self.conv_in = CausalConv3d(3, size.base)
        self.down_blocks = nn.ModuleList(blocks)
        self.mid_block = MiddleBlock(widths[-1])
        self.norm_out = Norm(widths[-1])
        self.conv_out = CausalConv3d(widths[-1], 2 * size.latent_channels)

    def forward(self, video: Tensor, past: Past | None = None) -> Tensor:
        """(B, 3, F, H, W) -> (B, 2 C, T, h, w). With `past`, the frames continue those before; it is updated."""
        x = self.conv_in(video, past)
        for block in self.down_blocks:
            x = block(x, past)
        return self.conv_out(F.silu(self.norm_out(self.mid_block(x, past))), past)


class Decoder(nn.Module):
    """From latents to pixels."""

    def __init__(self, size: AutoencoderSize):
        super().__init__()
        widths, times = size.widths[::-1], [*size.halves_time[::-1], None]
        inputs = [widths[0], *[width // 2 for width in widths[:-1]]]  # upsampling halves the channels
        self.conv_in = CausalConv3d(size.latent_channels, widths[0])
        self.mid_block = MiddleBlock(widths[0])
        self.up_blocks = nn.ModuleList(
            UpBlock([before, *[width] * (size.layers + 1)], time=time)
            for before, width, time in zip(inputs, widths, times, strict=True)
        )
        self.norm_out = Norm(widths[-1])
        self.conv_out = CausalConv3d(widths[-1], 3)

    def forward(self, latents: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, T, h, w) -> (B, 3, F, H, W). With `past`, the latents continue those before; it is updated."""
        x = self.mid_block(self.conv_in(latents, past), past)
        for block in self.up_blocks:
            x = block(x, past)
        return self.conv_out(F.silu(self.norm_out(x)), past)


class Autoencoder(nn.Module):
    """Encoder and decoder.

    Args:
        size: the sizes.
        mean: mean of the latents' channels, which a transformer expects to be zero.
        std: standard deviation of the latents' channels, which a transformer expects to be one.
    """

    def __init__(self, size: AutoencoderSize, *, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.size, self.mean, self.std = size, mean, std
        self.encoder, self.decoder = Encoder(size), Decoder(size)
        self.quant_conv = Conv3d(2 * size.latent_channels, 2 * size.latent_channels, 1)
        self.post_quant_conv = Conv3d(size.latent_channels, size.latent_channels, 1)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.quant_conv.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return self.quant_conv.weight.dtype

    def encode(self, video: Tensor, *, at_once: int | None = None) -> Posterior:
        """Encode 4k + 1 frames: (B, 3, F, H, W) -> (B, C, T, h, w).

        Args:
            video: the frames.
            at_once: latent frames encoded at a time; fewer need less memory, with the same result. None: all.
        """
        time, frames = self.size.compression.time, video.shape[2]
        length = (at_once or frames) * time
        cuts = range(length - time + 1, frames, length)  # the first latent frame has one frame
        parts = video.tensor_split(tuple(cuts), dim=2)
        past: Past | None = {} if len(parts) > 1 else None
        return Posterior.of(self.quant_conv(torch.cat([self.encoder(part, past) for part in parts], dim=2)))

    def decode(self, latents: Tensor, *, at_once: int | None = None) -> Tensor:
        """Decode latents: (B, C, T, h, w) -> (B, 3, F, H, W). Arguments as for `parts`."""
        return torch.cat(list(self.parts(latents, at_once=at_once)), dim=2)

    def parts(self, latents: Tensor, *, at_once: int | None = None) -> Iterator[Tensor]:
        """Decode latents (B, C, T, h, w) in parts (B, 3, f, H, W) with consecutive frames.

        Args:
            latents: the latents.
            at_once: latent frames per part; fewer need less memory, with the same result. None: all in one part.
        """
        total = latents.shape[2]
        past: Past | None = {} if (at_once or total) < total else None
        for part in self.post_quant_conv(latents).split(at_once or total, dim=2):
            yield self.decoder(part, past)
