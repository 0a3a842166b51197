"""Faster norms of the decoder: scale and shift are computed from the latents before upsampling.

These convolutions have a kernel of size one, so they give the same result before nearest-neighbor upsampling as after,
at a fraction of the positions.
"""

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSpatialNorm3D
from torch import Tensor


class SpreadingNorm(CogVideoXSpatialNorm3D):
    """A norm of the autoencoder's decoder whose scale and shift are computed before upsampling."""

    def forward(  # type: ignore[override]  # the annotation in diffusers does not match its result
        self, f: Tensor, zq: Tensor, conv_cache: dict | None = None
    ) -> tuple[Tensor, dict]:
        """(B, C, T, H, W), latents (B, Z, t, h, w) -> (B, C, T, H, W), and an empty cache."""
        scale, shift = (_spread(conv.conv(zq), f) for conv in (self.conv_y, self.conv_b))
        return self.norm_layer(f) * scale + shift, {}


def _spread(latents: Tensor, over: Tensor) -> Tensor:
    """Nearest-neighbor upsampling; with an odd number of frames the first is separate, as in diffusers."""
    frames, *size = over.shape[-3:]
    if frames == 1 or frames % 2 == 0:
        return F.interpolate(latents, size=(frames, *size))
    first, rest = latents[:, :, :1], latents[:, :, 1:]
    return torch.cat([F.interpolate(first, size=(1, *size)), F.interpolate(rest, size=(frames - 1, *size))], dim=2)
