"""What is asked of a pipeline: settings of one generation, checked and completed before any work begins."""

from typing import Literal

from pydantic import Field

from refilm.settings import Settings
from refilm.sizes import Compression

SamplerName = Literal["dpmpp-2m-sde", "ddim"]


class Request(Settings):
    """The settings of a generation. What is left out is the base model's own default."""

    steps: int = Field(ge=1, le=999)
    """Sampler steps; more is finer and slower."""
    guidance: float = Field(ge=0, le=50)
    """Guidance scale: how strongly prompt and picture are obeyed; 1 is not at all more than learned."""
    guidance_course: Literal["constant", "rising"] = "constant"
    """Whether guidance stays the same or rises from 1 to 1 + guidance with the share of steps done."""
    reference_scale: float = Field(default=1.0, ge=0, le=10)
    """Factor of what the reference picture adds; 0 is no picture."""
    frames: int = Field(ge=1)
    """Frames of the video."""
    height: int = Field(ge=1)
    """Height in pixels."""
    width: int = Field(ge=1)
    """Width in pixels."""
    sampler: SamplerName = "dpmpp-2m-sde"
    """The sampler."""

    def latent_shape(self, channels: int, compression: Compression) -> tuple[int, int, int, int]:
        """The shape of one video's latents, (T, C, h, w).

        Raises:
            ValueError: a number of frames or a size that the model cannot make.
        """
        height, width = compression.latent_size(self.height, self.width)
        return compression.latent_frames(self.frames), channels, height, width
