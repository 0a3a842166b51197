"""Linear previews: the color of each latent pixel from its own channels.

Letters: T latent frames, C latent channels, h x w latent pixels; F frames, H x W pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from refilm.arguments import checked
from refilm.backbones.autoencoders import to_pixels
from refilm.errors import UserError
from refilm.files import atomic_file
from refilm.geometry import Compression
from refilm.media import Video
from refilm.previews.shapes import require_latents
from refilm.weights.tensors import Piece, TensorFiles, save_tensors


@dataclass(frozen=True, eq=False)
class LinearPreview:
    """A `Preview` with a pixel for each latent pixel and a frame for each latent frame.

    The same idea as the `latent_rgb_factors` of ComfyUI and the fits of Stable Diffusion's latents before it.
    """

    weight: Tensor
    """(3, C) float32: from latent channels to red, green and blue in -1..1."""
    bias: Tensor
    """(3,) float32."""
    compression: Compression
    """The compression factors of the autoencoder."""

    @torch.no_grad()
    def frames(self, latents: Tensor) -> np.ndarray:
        """(T, C, h, w) -> (T, h, w, 3) uint8. Errors as in `Preview.frames`."""
        return _shown(self._colors(latents))

    @torch.no_grad()
    def video(self, latents: Tensor, fps: float) -> Video:
        """(T, C, h, w) -> F frames of H x W pixels: scaled up smoothly, each latent frame shown for all its frames."""
        colors = self._colors(latents)[:, self.compression.patch_time - 1 :]  # (3, T, h, w)
        large = F.interpolate(colors, scale_factor=self.compression.space, mode="bilinear")  # (3, T, H, W)
        counts = torch.tensor([1, *[self.compression.time] * (large.shape[1] - 1)], device=large.device)
        return Video(_shown(large.repeat_interleave(counts, dim=1)), fps)

    def _colors(self, latents: Tensor) -> Tensor:
        """(T, C, h, w) -> (3, T, h, w) float32, about -1..1."""
        require_latents(latents, channels=self.weight.shape[1])
        weight, bias = self.weight.to(latents.device), self.bias.to(latents.device)
        return torch.einsum("tchw,rc->rthw", latents.float(), weight) + bias[:, None, None, None]

    def save(self, path: Path) -> None:
        """Write the weights as safetensors; an existing file is replaced atomically."""
        with atomic_file(path) as temporary:
            save_tensors({"weight": self.weight.contiguous(), "bias": self.bias.contiguous()}, temporary)

    @classmethod
    @checked
    def load(cls, path: Path, *, channels: int, compression: Compression) -> "LinearPreview":
        """Read the file that `save` wrote.

        Args:
            path: the file.
            channels: latent channels of the base model.
            compression: compression factors of its autoencoder.

        Raises:
            UserError: the file is missing or damaged, or is for another number of channels; names it.
        """
        files = TensorFiles([path])
        stored = files.shape("weight", dimensions=2)[1]
        if stored != channels:
            raise UserError(
                f"{path}: is for latents with {stored} channels, the base model's have {channels}; use the preview of "
                "this base model, or fit one: refilm preview fit"
            )
        files.check({"weight": (3, channels), "bias": (3,)})
        weight, bias = (files.read([Piece(key)], dtype=torch.float32, device="cpu") for key in ("weight", "bias"))
        return cls(weight, bias, compression)


def _shown(colors: Tensor) -> np.ndarray:
    """(3, F, H, W) in -1..1 -> (F, H, W, 3) uint8."""
    return to_pixels(colors[None], maker="the preview")[0].cpu().numpy()
