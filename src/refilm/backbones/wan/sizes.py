"""Sizes of Wan 2.1's transformers."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from refilm.errors import UserError
from refilm.geometry import Geometry, Heads, Patch, Width


@dataclass(frozen=True)
class WanSize(Geometry):
    """All sizes that determine the weights and the arithmetic of a transformer."""

    family: ClassVar = "wan"

    hidden: Annotated[int, Field(strict=True, ge=1, le=1 << 18)] = 13824
    """Channels of the MLP's hidden layer."""
    head_dim: Heads = 128
    channels: Width = 16
    patch: Patch = 2
    text_dim: Width = 4096
    text_length: Width = 512
    frequencies: Width = 256
    """Channels of the sinusoids of the timestep."""
    eps: Annotated[float, Field(strict=True, gt=0, le=1)] = 1e-6
    """Epsilon of all norms."""

    def __post_init__(self):
        if self.head_dim % 2 or self.head_dim < 6:  # rotated in pairs, at least one for each axis
            raise UserError(f"head_dim: must be even and at least 6 (received {self.head_dim})")
        if self.frequencies % 2:
            raise UserError(f"frequencies: must be even (received {self.frequencies})")
        if self.width > 1 << 16:
            raise UserError(f"heads x head_dim: must be at most {1 << 16} (received {self.width})")


def wan_1_3b() -> WanSize:
    """Wan2.1-T2V-1.3B."""
    return WanSize(layers=30, heads=12, hidden=8960)


def wan_14b() -> WanSize:
    """Wan2.1-T2V-14B."""
    return WanSize(layers=40, heads=40, hidden=13824)
