"""CogVideoX's causal 3-D autoencoder: converts videos to latents and back. Does not scale latents, nor read files.

Letters: B videos, F frames, H x W pixels in -1..1; T latent frames, C latent channels, h x w latent pixels. Weights
have the same names as in diffusers' files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refilm.backbones.autoencoders import Posterior
from refilm.backbones.cogvideox.autoencoder.blocks import Blocks, DownBlocks, UpBlocks
from refilm.backbones.cogvideox.autoencoder.convolutions import CausalConv3d, Past
from refilm.backbones.cogvideox.autoencoder.norms import EPS, GroupNorm, LatentNorm
from refilm.geometry import Compression

ActivationName = Literal["swish", "silu", "mish", "gelu", "relu"]
_ACTIVATIONS = {"swish": F.silu, "silu": F.silu, "mish": F.mish, "gelu": F.gelu, "relu": F.relu}


@dataclass(frozen=True)
class AutoencoderSize:
    """All sizes that determine the weights and the arithmetic of an autoencoder. The defaults are CogVideoX's."""

    channels: tuple[int, ...] = (128, 256, 256, 512)
    """Channels of each resolution, finest first; each further entry halves height and width."""
    latent_channels: int = 16
    layers: int = 3
    """Residual blocks per resolution in the encoder; the decoder has one more."""
    norm_groups: int = 32
    norm_eps: float = EPS
    """Epsilon of the norms in the encoder's residual blocks."""
    activation: ActivationName = "silu"
    """Activation of the residual blocks."""
    temporal_compression: int = 4
    """Frames per latent frame, after the first; a power of two."""
    height: int = 480
    """Height of the training videos in pixels; only written to files."""
    width: int = 720

    @property
    def compression(self) -> Compression:
        """The compression factors."""
        return Compression(2 ** (len(self.channels) - 1), self.temporal_compression)

    def resamples(self, level: int) -> bool | None:
        """Whether the resampling after a level, in order of computation, changes time too; None after the last one."""
        return None if level == len(self.channels) - 1 else 2**level < self.temporal_compression


class Encoder(nn.Module):
    """From pixels to the mean and the logarithm of the variance of latents."""

    def __init__(self, size: AutoencoderSize):
        super().__init__()
        activation, first, last = _ACTIVATIONS[size.activation], size.channels[0], size.channels[-1]

        def norm(channels: int) -> nn.Module:
            return GroupNorm(size.norm_groups, channels, eps=size.norm_eps)

        self.conv_in = CausalConv3d(3, first)
        self.down_blocks = nn.ModuleList(
            DownBlocks([before, *[width] * size.layers], norm, activation, time=size.resamples(level))
            for level, (before, width) in enumerate(pairwise([first, *size.channels]))
        )
        self.mid_block = Blocks([last] * 3, norm, activation)
        self.norm_out = GroupNorm(size.norm_groups, last, eps=EPS)
        self.conv_out = CausalConv3d(last, 2 * size.latent_channels)

    def forward(self, video: Tensor) -> Tensor:
        """(B, 3, F, H, W) -> (B, 2 C, T, h, w)."""
        x = self.conv_in(video)
        for blocks in self.down_blocks:
            x = blocks(x)
        return self.conv_out(F.silu(self.norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """From latents to pixels."""

    def __init__(self, size: AutoencoderSize):
        super().__init__()
        activation, channels = _ACTIVATIONS[size.activation], size.channels[::-1]

        def norm(channels: int) -> nn.Module:
            return LatentNorm(channels, size.latent_channels, size.norm_groups)

        self.conv_in = CausalConv3d(size.latent_channels, channels[0])
        self.mid_block = Blocks([channels[0]] * 3, norm, activation)
        self.up_blocks = nn.ModuleList(
            UpBlocks([before, *[width] * (size.layers + 1)], norm, activation, time=size.resamples(level))
            for level, (before, width) in enumerate(pairwise([channels[0], *channels]))
        )
        self.norm_out = norm(channels[-1])
        self.conv_out = CausalConv3d(channels[-1], 3)

    def forward(self, latents: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, T, h, w) -> (B, 3, F, H, W). With `past`, the latents continue those before; it is updated."""
        x = self.mid_block(self.conv_in(latents, past), latents, past)
        for blocks in self.up_blocks:
            x = blocks(x, latents, past)
        return self.conv_out(F.silu(self.norm_out(x, latents)), past)


class Autoencoder(nn.Module):
    """Encoder and decoder.

    Args:
        size: the sizes.
        scaling_factor: the factor that scales latents to about unit variance for a transformer.
    """

    def __init__(self, size: AutoencoderSize | None = None, *, scaling_factor: float = 1.15258426):
        super().__init__()
        self.size, self.scaling_factor = size or AutoencoderSize(), scaling_factor
        self.encoder, self.decoder = Encoder(self.size), Decoder(self.size)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return next(self.parameters()).dtype

    def encode(self, video: Tensor) -> Posterior:
        """Encode all frames at once: (B, 3, F, H, W) -> (B, C, T, h, w).

        The norms' statistics depend on all frames, so frames encoded in parts would have other latents.
        """
        return Posterior.of(self.encoder(video))

    def decode(self, latents: Tensor, *, at_once: int | None = None) -> Tensor:
        """Decode latents: (B, C, T, h, w) -> (B, 3, F, H, W). Arguments as for `parts`."""
        return torch.cat(list(self.parts(latents, at_once=at_once)), dim=2)

    def parts(self, latents: Tensor, *, at_once: int | None = None) -> Iterator[Tensor]:
        """Decode latents (B, C, T, h, w) in parts (B, 3, f, H, W) with consecutive frames.

        Args:
            latents: the latents.
            at_once: latent frames per part; 2 in CogVideoX. The first part also has the frames that remain, because
                only a part with an odd number of latent frames has a single first frame. None: all in one part. The
                norms' statistics depend on the parts.
        """
        total = latents.shape[2]
        length = at_once or total
        first = min(total, length + total % length)
        past: Past | None = {} if first < total else None
        for part in latents.split([first, *[length] * ((total - first) // length)], dim=2):
            yield self.decoder(part, past)
