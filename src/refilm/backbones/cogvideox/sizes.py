"""Sizes of CogVideoX's transformers."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from refilm.errors import UserError
from refilm.geometry import Geometry, Grid, Heads, Patch, Width

Divisor = Annotated[float, Field(strict=True, gt=0, le=1e6)]


@dataclass(frozen=True)
class TransformerSize(Geometry):
    """All sizes that determine the weights and the arithmetic of a transformer."""

    family: ClassVar = "cogvideox"

    head_dim: Heads = 64
    channels: Width = 16
    patch: Patch = 2
    patch_time: Patch = 1  # pyright: ignore[reportIncompatibleMethodOverride]
    """Latent frames that a token covers: 1 in the first generation, 2 in CogVideoX 1.5."""
    text_dim: Width = 4096
    text_length: Width = 226
    time_dim: Width = 512
    """Channels of the timestep embedding."""
    position: Literal["sincos", "rotary"] = "sincos"
    """A fixed table added to the video tokens (2B), or rotations of queries and keys (5B, 1.5)."""
    base_height: Width = 60
    """Height of the training videos in latent pixels; rotary positions are scaled to it. In 1.5 they are not scaled,
    and this is the largest height.
    """
    base_width: Width = 90
    """The same for the width."""
    spatial_interpolation: Divisor = 1.875
    """Divisor of the spatial positions in the table."""
    temporal_interpolation: Divisor = 1.0
    """Divisor of the temporal positions in the table."""
    head_norm_eps: Annotated[float, Field(strict=True, gt=0, le=1)] = 1e-5
    """Epsilon of the modulated norm in the head: 1e-5 in diffusers, 1e-6 in SAT."""

    def __post_init__(self):
        name, turned = ("head_dim", self.head_dim) if self.position == "rotary" else ("heads x head_dim", self.width)
        if turned % 16:  # a quarter encodes time, in pairs of sines and cosines
            raise UserError(f"{name}: must be a multiple of 16 (received {turned})")
        if self.width > 1 << 16:
            raise UserError(f"heads x head_dim: must be at most {1 << 16} (received {self.width})")
        if min(self.base_height, self.base_width) < self.patch:
            raise UserError(f"patch: {self.patch} is larger than {self.base_height} x {self.base_width} latents")
        if self.patch_time > 1 and self.position != "rotary":
            raise UserError(f"patch_time: {self.patch_time} needs rotary positions (received {self.position!r})")

    def grid(self, frames: int, height: int, width: int) -> Grid:
        """The token grid of latents of that size, see `Geometry.grid`; in 1.5 the training videos limit it."""
        if self.patch_time > 1 and (height > self.base_height or width > self.base_width):
            raise UserError(
                f"latents of {height} x {width}: this model has positions for at most "
                f"{self.base_height} x {self.base_width}; choose a smaller height or width"
            )
        return super().grid(frames, height, width)


def cogvideox_2b() -> TransformerSize:
    """CogVideoX-2B: 1,693,783,872 parameters."""
    return TransformerSize(layers=30, heads=30)


def cogvideox_5b() -> TransformerSize:
    """CogVideoX-5B: 5,570,283,072 parameters."""
    return TransformerSize(layers=42, heads=48, position="rotary")


def cogvideox_15_5b() -> TransformerSize:
    """CogVideoX 1.5 5B: 5,570,676,352 parameters."""
    return replace(cogvideox_5b(), patch_time=2, base_height=300, base_width=300)


def pocket() -> TransformerSize:
    """The small model included in refilm: 64 x 64 pixels, 8 x 8 latents."""
    return TransformerSize(
        layers=8,
        heads=3,
        text_dim=128,
        text_length=24,
        time_dim=128,
        base_height=8,
        base_width=8,
        spatial_interpolation=1.0,
    )
