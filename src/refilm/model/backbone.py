"""The interface of a video diffusion transformer, which every model family in `refilm.backbones` implements."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from refilm.errors import UserError
from refilm.geometry import Geometry, Grid
from refilm.model.conditioning import Row, Time
from refilm.model.references import References
from refilm.model.trunk import Trunk


class Backbone(nn.Module):
    """A text-to-video diffusion transformer with a slot for reference attention in every block."""

    family: ClassVar[str]
    """Name of the model family, see `refilm.backbones.table`."""
    size: Geometry
    trunk: Trunk
    CANONICAL: ClassVar[Mapping[str, str]] = {}
    """Renamed modules: the start of a weight's name -> its start when the family was added. Fingerprints contain the
    latter, so that a renamed module keeps the fingerprints of all models."""

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor | Time,
        text: Tensor,
        references: References | None = None,
        *,
        rows: Sequence[Row] | None = None,
    ) -> Tensor:
        """The prediction for noisy latents, (B, T, C, h, w): their velocity.

        Args:
            latents: (B, T, C, h, w).
            timestep: (B,), or (1,) for all samples, 0..999; or what `times` made of it.
            text: (B, S, text_dim) from the text encoder; zeros for samples whose text is dropped.
            references: from `Adapter.references`; None skips the reference attention, which differs from zeros.
            rows: the branch of guidance and the sample of each row. Default: conditional, one sample per row.

        Raises:
            UserError: references were given without an attached adapter, or the latents do not fit the patch size.
        """
        raise NotImplementedError

    def times(self, timesteps: Sequence[float]) -> Sequence[Tensor | Time]:
        """What the model computes of each timestep alone: for a sampling run, once. Forward passes then give the same
        numbers bit for bit as with the timestep itself, (1,). It is valid as long as the weights do not change.
        By default it is the timestep itself.
        """
        return [torch.full((1,), one, device=self.device) for one in timesteps]

    def compute_positions(self, grid: Grid) -> None:
        """Compute the position tables of a grid that the model keeps, if any."""

    def require_fit(self, references: References | None, *, batch: int, grid: Grid) -> None:
        """Check that there is something that reads the references, and that their sizes fit.

        Raises:
            UserError: references were given, but all slots are empty; or a size does not match.
        """
        if references is None:
            return
        if not self.has_adapter:
            raise UserError("a reference was given, but no adapter is attached to this transformer")
        references.require_fit(batch=batch, video_tokens=grid.tokens, blocks=len(self.trunk.blocks))

    @property
    def has_adapter(self) -> bool:
        """Whether a block's reference slot is filled."""
        return any(block.reference is not None for block in self.trunk.blocks)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return next(self.parameters()).dtype
