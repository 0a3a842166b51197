"""The fields of model configurations that refilm reads, with types and bounds. Other fields are ignored."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from refilm.errors import UserError
from refilm.sizes import Heads, Layers, Width
from refilm.weights.configs import Config, Fraction, Small


class ClipFields(Config):
    """A CLIP vision tower."""

    hidden_size: Width = 768
    intermediate_size: Annotated[int, Field(ge=1, le=1 << 18)] = 3072
    num_hidden_layers: Layers = 12
    num_attention_heads: Heads = 12
    num_channels: Literal[3] = 3
    image_size: Annotated[int, Field(ge=1, le=4096)] = 224
    patch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: Small = 1e-5
    attention_dropout: Fraction = 0.0

    @model_validator(mode="after")
    def _whole(self) -> "ClipFields":
        if self.hidden_size % self.num_attention_heads:
            raise UserError("hidden_size: must be a multiple of num_attention_heads")
        if self.image_size < self.patch_size:
            raise UserError("image_size: must be at least patch_size")
        return self


class ClipConfig(Config):
    """A complete CLIP model, or only its vision tower."""

    model_type: Literal["clip", "clip_vision_model"]
    vision_config: ClipFields | None = None


class ScheduleFields(Config):
    """A noise schedule."""

    class_name: Literal["CogVideoXDPMScheduler", "CogVideoXDDIMScheduler"] = Field(alias="_class_name")
    prediction_type: Literal["v_prediction"]
    beta_schedule: Literal["scaled_linear"]
    trained_betas: None = None
    num_train_timesteps: Annotated[int, Field(ge=2, le=100_000)]
    rescale_betas_zero_snr: bool
    beta_start: Small
    beta_end: Small
    snr_shift_scale: Annotated[float, Field(gt=0, le=1e6)]


Side = Annotated[int, Field(ge=1, le=4096)]
Channels = Annotated[list[Annotated[float, Field(ge=-1e3, le=1e3)]], Field(min_length=3, max_length=3)]


class Sides(Config):
    """A size in pixels."""

    shortest_edge: Side | None = None
    height: Side | None = None
    width: Side | None = None


class ImageProcessorFields(Config):
    """CLIP's image processor."""

    image_processor_type: Literal["CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"] = (
        "CLIPImageProcessor"
    )
    feature_extractor_type: Literal["CLIPFeatureExtractor"] | None = None
    crop_size: Sides | Side | None = None
    size: Sides | Side | None = None
    do_center_crop: bool = True
    do_convert_rgb: bool = True
    do_normalize: bool = True
    do_rescale: bool = True
    do_resize: bool = True
    image_mean: Channels | None = None
    image_std: Channels | None = None
    resample: Annotated[int, Field(ge=0, le=5)] = 3
    rescale_factor: Small = 1 / 255

    @model_validator(mode="after")
    def _divisible(self) -> "ImageProcessorFields":
        if self.image_std is not None and not all(self.image_std):
            raise UserError("image_std: must not be 0")
        return self
