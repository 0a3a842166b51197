"""The decoder's norms, which read the latents, with less work: each latent is looked up before it is spread out.

A lookup of one latent at a time (a kernel of one) gives the same before spreading as after, at a fraction of the
places.
"""

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSpatialNorm3D
from torch import Tensor


class SpreadingNorm(CogVideoXSpatialNorm3D):
    """A norm of the autoencoder's decoder whose scale and shift are computed from the latents as they are."""

    def forward(  # type: ignore[override]  # diffusers tells another result than it gives
        self, f: Tensor, zq: Tensor, conv_cache: dict | None = None
    ) -> tuple[Tensor, dict]:
        """(B, C, T, H, W), latents (B, Z, t, h, w) -> (B, C, T, H, W), and nothing to remember for the next frames."""
        scale, shift = (_spread(conv.conv(zq), f) for conv in (self.conv_y, self.conv_b))
        return self.norm_layer(f) * scale + shift, {}


def _spread(latents: Tensor, over: Tensor) -> Tensor:
    """The nearest latent at each place; an odd number of frames begins with one that is alone, as diffusers has it."""
    frames, *size = over.shape[-3:]
    if frames == 1 or frames % 2 == 0:
        return F.interpolate(latents, size=(frames, *size))
    first, rest = latents[:, :, :1], latents[:, :, 1:]
    return torch.cat([F.interpolate(first, size=(1, *size)), F.interpolate(rest, size=(frames - 1, *size))], dim=2)
