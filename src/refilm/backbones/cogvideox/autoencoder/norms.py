"""Group norms of the encoder and of the decoder. Statistics are taken over all frames of the input."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refilm.backbones.cogvideox.autoencoder.convolutions import CausalConv3d

EPS = 1e-6


class GroupNorm(nn.GroupNorm):
    """The norm of the encoder, with the decoder's arguments."""

    def forward(self, input: Tensor, latents: Tensor | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        return super().forward(input)


class LatentNorm(nn.Module):
    """The norm of the decoder, whose scale and shift depend on the latents at each place (arXiv 2209.09002, MoVQ).

    Both are convolutions with a kernel of size one, so they are computed before the latents are enlarged, at a fraction
    of the places.
    """

    def __init__(self, channels: int, latent_channels: int, groups: int):
        super().__init__()
        self.norm_layer = nn.GroupNorm(groups, channels, eps=EPS)
        self.conv_y = CausalConv3d(latent_channels, channels, kernel=1)
        self.conv_b = CausalConv3d(latent_channels, channels, kernel=1)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """(B, C, T, H, W), latents (B, Z, t, h, w) -> (B, C, T, H, W)."""
        scale, shift = (enlarged(conv(latents), x) for conv in (self.conv_y, self.conv_b))
        return self.norm_layer(x) * scale + shift


def enlarged(latents: Tensor, x: Tensor) -> Tensor:
    """Latents at the size of `x`, nearest neighbor: (B, C, t, h, w) -> (B, C, T, H, W).

    If T is odd, the first latent frame stands for the first frame alone.
    """
    frames, *size = x.shape[-3:]
    if frames == 1 or frames % 2 == 0:
        return F.interpolate(latents, size=(frames, *size))
    first, rest = latents[:, :, :1], latents[:, :, 1:]
    return torch.cat([F.interpolate(first, size=(1, *size)), F.interpolate(rest, size=(frames - 1, *size))], dim=2)
