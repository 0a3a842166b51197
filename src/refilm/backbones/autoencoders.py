"""What the families' video autoencoders share: the distribution of latents, conversion of pixels, saving.

Letters: B videos, F frames, H x W pixels; T latent frames, C latent channels, h x w latent pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor, nn

from refilm.errors import UserError
from refilm.files import atomic_folder, write_json
from refilm.geometry import Geometry
from refilm.model import require_finite
from refilm.weights.tensors import saving

WEIGHTS = "diffusion_pytorch_model"
"""Name of the weights files without suffix."""


@dataclass(frozen=True)
class Posterior:
    """A normal distribution of latents, (B, C, T, h, w) each."""

    mean: Tensor
    logvar: Tensor

    @classmethod
    def of(cls, moments: Tensor) -> "Posterior":
        """The distribution that an encoder gives: means and logarithms of variances, (B, 2 C, T, h, w)."""
        mean, logvar = moments.chunk(2, dim=1)
        return cls(mean, logvar.clamp(-30, 20))

    @property
    def std(self) -> Tensor:
        """Standard deviation."""
        return (0.5 * self.logvar).exp()

    @property
    def var(self) -> Tensor:
        """Variance."""
        return self.logvar.exp()


def from_pixels(pixels: Tensor) -> Tensor:
    """(B, F, H, W, 3) uint8 -> (B, 3, F, H, W) in -1..1."""
    return pixels.permute(0, 4, 1, 2, 3) / 127.5 - 1


def to_pixels(video: Tensor, *, maker: str = "the autoencoder") -> Tensor:
    """(B, 3, F, H, W) in -1..1, other values are clamped -> (B, F, H, W, 3) uint8. `maker` is named in the error.

    Raises:
        NotFiniteError: some values are not finite and would make the video black.
    """
    video = (require_finite(video, maker=maker).float().clamp(-1, 1) + 1) * 127.5
    return video.round().to(torch.uint8).permute(0, 2, 3, 4, 1)


def by_frame(apply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of images (B, C, H, W) to the frames of videos (B, C, T, H, W)."""
    return apply(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), x.shape[2])).transpose(1, 2)


def save_folder(model: nn.Module, config: Mapping[str, Any], folder: Path) -> None:
    """Write an autoencoder atomically in diffusers' layout. Other files in the folder are kept."""
    with atomic_folder(folder, "config.json", f"{WEIGHTS}*") as temporary, saving(folder):
        write_json(temporary / "config.json", config)
        save_torch_state_dict(
            model.state_dict(), temporary, filename_pattern=f"{WEIGHTS}{{suffix}}.safetensors", max_shard_size="10GB"
        )


def require_channels(channels: int, size: Geometry, path: Path, key: str) -> None:
    """Check that an autoencoder makes the latents that a transformer reads.

    Raises:
        UserError: it has another number of latent channels; names its config and both numbers.
    """
    if channels != size.channels:
        raise UserError(
            f"{path}: {key}: {channels} latent channels, but the transformer reads {size.channels}; use the "
            "autoencoder of this base model"
        )
