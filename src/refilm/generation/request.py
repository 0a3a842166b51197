"""The settings of one generation, validated and completed with defaults before sampling starts."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from refilm.geometry import Compression
from refilm.settings import Settings
from refilm.settings.choices import SamplerName

GuidanceScheduleName = Literal["constant", "rising", "by-timestep"]
KernelName = Literal["fused", "flash", "efficient", "cudnn", "math", "eager"]


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("text", "contains bytes that are not UTF-8; enter the text in UTF-8") from None
    return text


def _single(value: Any) -> Any:
    if isinstance(value, list | tuple):
        raise PydanticCustomError("several", "give one text; use generate_batch for several videos")
    return value


Text = Annotated[str, AfterValidator(_encodable)]
Prompt = Annotated[Text, BeforeValidator(_single)]


class Request(Settings):
    """The settings of a generation. Settings that are not given have the base model's default."""

    steps: int = Field(ge=1, le=999)
    """Number of sampler steps; more steps give finer results and take longer."""
    guidance: float = Field(ge=0, le=50)
    """Classifier-free guidance scale; higher follows prompt and image more strongly. 1 disables guidance."""
    reference_guidance: float | None = Field(default=None, ge=0, le=50)
    """Guidance scale of the reference image alone; guidance is then the prompt's. Default: one scale for both."""
    guidance_schedule: GuidanceScheduleName = "constant"
    """Guidance schedule: constant, rising from 1 to 1 + guidance, or by-timestep, the published CogVideoX formula."""
    negative_prompt: Text | None = None
    """Negative prompt. Default: the base model's null prompt: zeros for CogVideoX (diffusers has ""), "" for Wan."""
    reference_scale: float = Field(default=1.0, ge=0, le=10)
    """Strength of the reference image; 0 disables it."""
    frames: int = Field(ge=1)
    """Number of video frames."""
    height: int = Field(ge=1)
    """Video height in pixels."""
    width: int = Field(ge=1)
    """Video width in pixels."""
    sampler: SamplerName = "dpmpp-2m-sde"
    """Sampler. Default: the base model's. sat reproduces that of the CogVideoX SAT code with its faults, to compare."""
    kernel: KernelName | None = None
    """Attention kernel. Default: the kernel set in the model, normally fused."""
    step_cache: float = Field(default=0.0, ge=0, le=10)
    """Step-cache threshold: skip blocks until their input has changed by this; 0 disables, higher is less exact."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, settings: Any) -> Any:
        """Set the guidance schedule of the sampler sat."""
        if isinstance(settings, dict) and settings.get("sampler") == "sat":
            return {"guidance_schedule": "by-timestep", **settings}
        return settings

    def latent_shape(self, channels: int, compression: Compression) -> tuple[int, int, int, int]:
        """The shape of one video's latents, (T, C, h, w).

        Raises:
            UserError: the model does not support this number of frames or this size.
        """
        height, width = compression.latent_size(self.height, self.width)
        return compression.latent_frames(self.frames), channels, height, width
