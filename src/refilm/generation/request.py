"""The settings of one generation, validated and completed with defaults before sampling starts."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from refilm.errors import UserError
from refilm.geometry import Compression
from refilm.settings import Settings, StepRange
from refilm.settings.choices import SamplerName

GuidanceScheduleName = Literal["constant", "rising", "by-timestep"]
GuidanceFormName = Literal["plain", "rescaled", "projected"]
BindingName = Literal["separate", "joint"]
StepCacheRule = Literal["change", "magnitude"]
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
    """Classifier-free guidance scale; higher follows prompt and image more strongly. 2 transformer passes per step; 1
    disables guidance: 1 pass."""
    reference_guidance: float | None = Field(default=None, ge=0, le=50)
    """Guidance scale of the reference image alone; guidance is then the prompt's. 3 transformer passes per step, 2 if
    both scales are equal. Default: one scale for both."""
    guidance_schedule: GuidanceScheduleName = "constant"
    """Guidance schedule: constant, rising from 1 to 1 + guidance, or by-timestep, the published CogVideoX formula. Adds
    no transformer pass."""
    guidance_steps: StepRange | None = None
    """Steps with guidance, as FIRST-LAST, counted from 1; every other step is 1 transformer pass. Default: all."""
    guidance_form: GuidanceFormName = "plain"
    """Form of guidance: plain, rescaled to the contrast of the conditional prediction, or projected (APG), which lowers
    saturation. Adds no transformer pass."""
    guidance_rescale: float = Field(default=0.7, ge=0, le=1)
    """Weight of the rescaled prediction in guidance_form rescaled; 0 is plain guidance. Adds no transformer pass."""
    guidance_parallel: float = Field(default=0.0, ge=0, le=1)
    """Factor on the part of guidance parallel to the clean latents, which raises contrast and saturation, in
    guidance_form projected; 1 keeps it. Adds no transformer pass."""
    guidance_norm: float | None = Field(default=None, gt=0, le=1000)
    """Largest root mean square of what guidance adds to the clean latents, in guidance_form projected; lower limits
    more. Adds no transformer pass. Default: no limit."""
    guidance_momentum: float = Field(default=0.0, gt=-1, lt=1)
    """Factor on the guidance of earlier steps that is added again, in guidance_form projected; below 0 weakens it, 0
    disables momentum. Adds no transformer pass."""
    negative_prompt: Text | None = None
    """Negative prompt; adds no transformer pass. Default: the base model's null prompt: zeros for CogVideoX (diffusers
    has ""), "" for Wan."""
    reference_scale: float = Field(default=1.0, ge=0, le=10)
    """Strength of the reference image; 0 disables it."""
    binding: BindingName = "separate"
    """How the video reads several subjects: separate adds an attention per subject, joint shares one among them."""
    frames: int = Field(ge=1)
    """Number of video frames."""
    window: int | None = Field(default=None, ge=1)
    """Frames that the model denoises at once. A longer video is denoised in overlapping windows, each with the
    transformer passes of a video. Default: the base model's number of frames."""
    window_overlap: int | None = Field(default=None, ge=0)
    """Frames that neighboring windows share at least; more make smoother transitions and take longer. 0 makes hard
    cuts. Default: about a third of the window."""
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
    step_cache_rule: StepCacheRule = "change"
    """What the step cache compares with its threshold: change, that of the blocks' input, or magnitude, the error that
    the base model's magnitudes.json predicts (MagCache)."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, settings: Any) -> Any:
        """Set the guidance schedule of the sampler sat."""
        if isinstance(settings, dict) and settings.get("sampler") == "sat":
            return {"guidance_schedule": "by-timestep", **settings}
        return settings

    @field_validator("guidance_steps")
    @classmethod
    def _exist(cls, value: StepRange | None, others: ValidationInfo) -> StepRange | None:
        if value is not None and "steps" in others.data:
            value.indices(others.data["steps"])
        return value

    @field_validator("guidance_rescale", "guidance_parallel", "guidance_norm", "guidance_momentum")
    @classmethod
    def _belongs_to_form(cls, value: float | None, others: ValidationInfo) -> float | None:
        name = str(others.field_name)
        form = "rescaled" if name == "guidance_rescale" else "projected"
        if value != cls.model_fields[name].default and others.data.get("guidance_form", form) != form:
            raise UserError(f"needs guidance_form {form}; add it, or remove {name}")
        return value

    @field_validator("sampler")
    @classmethod
    def _projects(cls, value: SamplerName, others: ValidationInfo) -> SamplerName:
        if value == "sat" and others.data.get("guidance_form") == "projected":
            raise UserError("guidance_form projected needs another sampler; sat has noise levels of its own")
        return value

    def latent_shape(self, channels: int, compression: Compression) -> tuple[int, int, int, int]:
        """The shape of one video's latents, (T, C, h, w).

        Raises:
            UserError: the model does not support this number of frames or this size.
        """
        height, width = compression.latent_size(self.height, self.width)
        return compression.latent_frames(self.frames), channels, height, width
