"""What is asked of a pipeline: settings of one generation, checked and completed before any work begins."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from refilm.settings import Settings
from refilm.sizes import Compression

SamplerName = Literal["dpmpp-2m-sde", "ddim", "sat"]
GuidanceScheduleName = Literal["constant", "rising", "by-timestep"]
KernelName = Literal["fused", "flash", "efficient", "cudnn", "math", "eager"]


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("text", "holds bytes that are not UTF-8; type it again, in UTF-8") from None
    return text


def _single(value: Any) -> Any:
    if isinstance(value, list | tuple):
        raise PydanticCustomError("several", "give one text; generate_batch makes several videos")
    return value


Text = Annotated[str, AfterValidator(_encodable)]
Prompt = Annotated[Text, BeforeValidator(_single)]


class Request(Settings):
    """The settings of a generation. What is left out is the base model's own default."""

    steps: int = Field(ge=1, le=999)
    """Sampler steps; more is finer and slower."""
    guidance: float = Field(ge=0, le=50)
    """Guidance scale: how strongly prompt and image are obeyed; 1 is not at all more than learned."""
    guidance_schedule: GuidanceScheduleName = "constant"
    """Guidance stays constant, is rising from 1 to 1 + guidance, or jumps by-timestep as CogVideoX's code has it."""
    negative_prompt: Text | None = None
    """What guidance leads away from; left out: no prompt, as in training. An empty text is what diffusers takes."""
    reference_scale: float = Field(default=1.0, ge=0, le=10)
    """Factor of what the reference image adds; 0 is no image."""
    frames: int = Field(ge=1)
    """Frames of the video."""
    height: int = Field(ge=1)
    """Height in pixels."""
    width: int = Field(ge=1)
    """Width in pixels."""
    sampler: SamplerName = "dpmpp-2m-sde"
    """The sampler; sat is that of the CogVideoX research code, faults included, to compare with it."""
    kernel: KernelName | None = None
    """The attention kernel; left out: the model's own, which is fused unless another was set."""
    step_cache: float = Field(default=0.0, ge=0, le=10)
    """Rest the transformer's blocks until their input has moved by this since they ran; 0 never, more is faster."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, settings: Any) -> Any:
        """The sampler sat brings its course of guidance along."""
        if isinstance(settings, dict) and settings.get("sampler") == "sat":
            return {"guidance_schedule": "by-timestep", **settings}
        return settings

    def latent_shape(self, channels: int, compression: Compression) -> tuple[int, int, int, int]:
        """The shape of one video's latents, (T, C, h, w).

        Raises:
            ValueError: a number of frames or a size that the model cannot make.
        """
        height, width = compression.latent_size(self.height, self.width)
        return compression.latent_frames(self.frames), channels, height, width
