"""The interface of a video diffusion transformer, which every model family in `refilm.backbones` implements."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from refilm.geometry import Geometry, Grid
from refilm.model.trunk import Trunk


class Backbone(nn.Module):
    """A text-to-video diffusion transformer with a slot for reference attention in every block."""

    family: ClassVar[str]
    """Name of the model family, see `refilm.backbones.table`."""
    size: Geometry
    trunk: Trunk
    canonical: ClassVar[Mapping[str, str]] = {}
    """Names for fingerprints: prefix of a module's name -> its prefix when the family was added. Fingerprints stay the
    same when a module is renamed and listed here."""

    def __init__(self) -> None:
        super().__init__()
        self.reference_projection: nn.Module | None = None

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        reference: Tensor | None = None,
        *,
        reference_scale: Tensor | float = 1.0,
    ) -> Tensor:
        """The prediction for noisy latents: the velocity, or what else its process defines.

        Args:
            latents: (B, T, C, h, w).
            timestep: (B,), 0..999.
            text: (B, S, text_dim) from the text encoder; zeros for samples whose text is dropped.
            reference: (B, M, reference_dim) from the image encoder, or None.
            reference_scale: factor on the output of the reference attention; (B,) sets it per sample.

        Raises:
            ValueError: a reference was given without an attached adapter, or the latents do not fit the patch size.
        """
        raise NotImplementedError

    def compute_positions(self, grid: Grid) -> None:
        """Compute the position tables of a grid that the model keeps, if any."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return next(self.parameters()).dtype
