"""The inputs of a block besides its tokens."""

from dataclasses import dataclass, replace

from torch import Tensor

from refilm.geometry import Grid


@dataclass(frozen=True)
class Conditioning:
    """The conditions of one forward. B samples, M reference tokens, D channels, E channels of the time embedding."""

    time: Tensor
    """(B, E)"""
    text_length: int
    """Number of text tokens; they come first."""
    grid: Grid
    """Grid of the video tokens, which follow the text tokens in (frame, row, column) order."""
    rotary: tuple[Tensor, Tensor] | None = None
    """Cosines and sines for the video tokens' queries and keys, (N, head_dim) each."""
    reference: Tensor | None = None
    """(B, M, D), projected. None: blocks skip their reference attention."""
    reference_scale: Tensor | float = 1.0
    """Factor on the output of the reference attention; (B, 1, 1) sets it per sample. 0 is the same as no reference."""

    def rows(self, which: Tensor) -> "Conditioning":
        """The conditions of a subset of the samples: `which` contains their indices, or is a boolean mask."""
        scale = self.reference_scale
        return replace(
            self,
            time=self.time[which],
            reference=None if self.reference is None else self.reference[which],
            reference_scale=scale[which] if isinstance(scale, Tensor) else scale,
        )
