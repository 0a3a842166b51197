"""What a block may know beside its tokens."""

from dataclasses import dataclass, replace

from torch import Tensor

from refilm.sizes import Grid


@dataclass(frozen=True)
class Conditioning:
    """One forward's conditions. B samples, M reference tokens, D channels, E channels of the time embedding."""

    time: Tensor
    """(B, E)"""
    text_length: int
    """The first tokens are the text's."""
    grid: Grid
    """The rest are the video's, in this order."""
    rotary: tuple[Tensor, Tensor] | None = None
    """Cosines and sines for the video tokens' queries and keys, (N, head_dim) each."""
    reference: Tensor | None = None
    """(B, M, D), projected; none: blocks skip their reference attention."""
    reference_scale: Tensor | float = 1.0
    """Factor of what the reference adds; (B, 1, 1) gives each sample its own, 0 is the same as no reference."""

    def rows(self, which: Tensor) -> "Conditioning":
        """The same for some of the samples: `which` are their indices, or true for each that stays."""
        scale = self.reference_scale
        return replace(
            self,
            time=self.time[which],
            reference=None if self.reference is None else self.reference[which],
            reference_scale=scale[which] if isinstance(scale, Tensor) else scale,
        )
