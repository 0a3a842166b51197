"""The fields of model configurations that refilm reads, with types and bounds. Other fields are ignored."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from refilm.sizes import Heads, Layers, Width
from refilm.weights.configs import Config

Small = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class T5Fields(Config):
    """A T5 encoder."""

    model_type: Literal["t5"]
    vocab_size: Annotated[int, Field(ge=1, le=1 << 20)] = 32128
    d_model: Width = 512
    d_kv: Heads = 64
    d_ff: Annotated[int, Field(ge=1, le=1 << 18)] = 2048
    num_layers: Layers = 6
    num_heads: Heads = 8
    relative_attention_num_buckets: Annotated[int, Field(ge=4, le=4096)] = 32
    relative_attention_max_distance: Annotated[int, Field(ge=1, le=1 << 16)] = 128
    dropout_rate: Fraction = 0.1
    layer_norm_epsilon: Small = 1e-6
    feed_forward_proj: Literal["relu", "gated-gelu"] = "relu"

    @model_validator(mode="after")
    def _far(self) -> "T5Fields":
        if self.relative_attention_max_distance < self.relative_attention_num_buckets:
            raise ValueError("relative_attention_max_distance: must be at least relative_attention_num_buckets")
        return self


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
            raise ValueError("hidden_size: must be a multiple of num_attention_heads")
        if self.image_size < self.patch_size:
            raise ValueError("image_size: must be at least patch_size")
        return self


class ClipConfig(Config):
    """A complete CLIP model, or only its vision tower."""

    model_type: Literal["clip", "clip_vision_model"]
    vision_config: ClipFields | None = None


class AutoencoderFields(Config):
    """CogVideoX's autoencoder."""

    class_name: Literal["AutoencoderKLCogVideoX"] = Field(default="AutoencoderKLCogVideoX", alias="_class_name")
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    block_out_channels: Annotated[list[Width], Field(min_length=1, max_length=8)] = Field(default=[128, 256, 256, 512])
    down_block_types: Annotated[list[Literal["CogVideoXDownBlock3D"]], Field(min_length=1, max_length=8)] = [
        "CogVideoXDownBlock3D"
    ] * 4
    up_block_types: Annotated[list[Literal["CogVideoXUpBlock3D"]], Field(min_length=1, max_length=8)] = [
        "CogVideoXUpBlock3D"
    ] * 4
    latent_channels: Width = 16
    layers_per_block: Layers = 3
    act_fn: Literal["swish", "silu", "mish", "gelu", "relu"] = "silu"
    norm_eps: Small = 1e-6
    norm_num_groups: Width = 32
    temporal_compression_ratio: Annotated[float, Field(ge=1, le=128)] = 4
    sample_height: Width = 480
    sample_width: Width = 720
    scaling_factor: Annotated[float, Field(gt=0, le=1e6)] = 1.15258426
    shift_factor: float | None = None
    force_upcast: bool = True
    use_quant_conv: Literal[False] = False
    use_post_quant_conv: Literal[False] = False
    invert_scale_latents: bool = False

    @model_validator(mode="after")
    def _even(self) -> "AutoencoderFields":
        levels = len(self.block_out_channels)
        if len(self.down_block_types) != levels or len(self.up_block_types) != levels:
            raise ValueError("down_block_types, up_block_types: must be as many as block_out_channels")
        if any(channels % self.norm_num_groups for channels in self.block_out_channels):
            raise ValueError("block_out_channels: must be multiples of norm_num_groups")
        ratio = self.temporal_compression_ratio
        if ratio != int(ratio) or int(ratio) & (int(ratio) - 1) or ratio > 1 << (levels - 1):
            raise ValueError("temporal_compression_ratio: must be a power of two, halved at most once a level")
        return self


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
            raise ValueError("image_std: must not be 0")
        return self
