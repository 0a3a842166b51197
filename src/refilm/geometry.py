"""Conversion between pixels, latents and tokens, and the sizes that it depends on; nothing about one model family."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from refilm.errors import UserError

# Bounds for files and recipes, far above all published sizes; pydantic enforces them.
Layers = Annotated[int, Field(strict=True, ge=1, le=1000)]
Heads = Annotated[int, Field(strict=True, ge=1, le=1024)]
Width = Annotated[int, Field(strict=True, ge=1, le=1 << 16)]
"""Number of channels, tokens, or pixels per side."""
Patch = Annotated[int, Field(strict=True, ge=1, le=64)]
Flag = Annotated[bool, Field(strict=True)]
STRICT = {"extra": "forbid", "allow_inf_nan": False, "use_attribute_docstrings": True}


class Grid(NamedTuple):
    """Video tokens along time, height and width."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.frames * self.height * self.width


@dataclass(frozen=True)
class Geometry:
    """The sizes that all transformers have; each family adds its own."""

    __pydantic_config__: ClassVar = STRICT
    family: ClassVar[str]
    """Name of the model family, see `refilm.backbones.table`."""

    layers: Annotated[Layers, Field(examples=[30])]
    """Number of blocks."""
    heads: Annotated[Heads, Field(examples=[30])]
    """Number of attention heads."""
    head_dim: Heads
    """Channels of an attention head."""
    channels: Width
    """Latent channels."""
    patch: Patch
    """A token covers patch x patch latent pixels."""
    text_dim: Width
    """Channels of the text encoder's tokens."""
    text_length: Width
    """Text tokens per prompt; shorter prompts are padded."""

    @property
    def width(self) -> int:
        """Channels per token."""
        return self.heads * self.head_dim

    @property
    def patch_time(self) -> int:
        """Latent frames that a token covers. A family whose tokens cover several has a field of this name."""
        return 1

    def grid(self, frames: int, height: int, width: int) -> Grid:
        """The token grid of latents of that size.

        Raises:
            UserError: height or width are not multiples of `patch`, or frames of `patch_time`.
        """
        if height % self.patch or width % self.patch:
            p = self.patch
            raise UserError(f"latents of {height} x {width} cannot be divided into patches of {p} x {p}")
        if frames % self.patch_time:
            raise UserError(f"{frames} latent frames: the number must be a multiple of {self.patch_time}")
        return Grid(frames // self.patch_time, height // self.patch, width // self.patch)


@dataclass(frozen=True)
class AdapterSize:
    """All sizes that determine the weights of an adapter: reference attention layers and image projection."""

    __pydantic_config__: ClassVar = STRICT

    layers: Layers
    heads: Heads
    head_dim: Heads = 64
    reference_dim: Width = 1024
    """Channels per reference token of the image encoder."""
    query_norm: Flag = False
    """Normalize video tokens before the query projection; the published form does not."""
    family: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "cogvideox"
    """Model family of the transformer, see `refilm.backbones.table`."""

    @property
    def width(self) -> int:
        """Channels per token."""
        return self.heads * self.head_dim

    @classmethod
    def of(cls, size: Geometry, *, reference_dim: int = 1024, query_norm: bool = False) -> "AdapterSize":
        """The adapter size for a transformer."""
        return cls(size.layers, size.heads, size.head_dim, reference_dim, query_norm, family=size.family)


@dataclass(frozen=True)
class Compression:
    """Compression factors of an autoencoder, and the patch of the transformer that reads its latents."""

    space: int = 8
    time: int = 4
    patch: int = 2
    """Patch size of the transformer: pixel sizes are multiples of space x patch."""
    patch_time: int = 1
    """Latent frames that a token covers. The first token covers the first frame alone: its latent frame is repeated in
    front of the video until there are `patch_time` of it."""

    def read_by(self, size: Geometry) -> "Compression":
        """The same compression for a transformer of that size."""
        return replace(self, patch=size.patch, patch_time=size.patch_time)

    @property
    def token_frames(self) -> int:
        """Frames that a token covers, except those of the first frame."""
        return self.time * self.patch_time

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a video with `frames` frames: `patch_time` of the first frame alone, then one for each
        group of `time` frames.

        Raises:
            UserError: `frames` is not a multiple of `token_frames` plus one.
        """
        step = self.token_frames
        if frames < 1 or (frames - 1) % step:
            low = max(0, (frames - 1) // step) * step + 1
            raise UserError(f"{frames} frames: the number must be {step}k + 1, for instance {low} or {low + step}")
        return (frames - 1) // self.time + self.patch_time

    def frames(self, latent_frames: int) -> int:
        """Frames of a video with `latent_frames` latent frames."""
        return (latent_frames - self.patch_time) * self.time + 1

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latents.

        Raises:
            UserError: a side is not a whole number of tokens.
        """
        step = self.space * self.patch
        if height < step or width < step or height % step or width % step:
            near = [max(step, round(side / step) * step) for side in (height, width)]
            raise UserError(
                f"a height of {height} and a width of {width} pixels: both must be multiples of {step}, "
                f"for instance height {near[0]}, width {near[1]}"
            )
        return height // self.space, width // self.space
