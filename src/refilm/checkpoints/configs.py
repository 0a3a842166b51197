"""Configuration files of models: what refilm reads of them, each value with its type and bounds.

They may come from anybody. So nothing of such a file reaches a library but the fields declared here, and no module is
built before they were checked. Keys that play no part are passed over; keys that ask for code are refused by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from refilm.files import read_json
from refilm.settings import Settings, explain
from refilm.sizes import Heads, Layers, Width

T = TypeVar("T")
LARGEST = 1 << 26  # bytes of a configuration file
Small = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[str, Field(min_length=0, max_length=200)]


class Config(BaseModel):
    """The part of a configuration file that refilm reads."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """The fields that the file has; a library knows the defaults of the others."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class KindConfig(Config):
    """What kind of model a folder has."""

    class_name: Words | None = Field(default=None, alias="_class_name")
    architectures: list[Words] | None = None
    model_type: Words | None = None

    @property
    def kind(self) -> str:
        """Its class, as far as the file names one."""
        return self.class_name or next(iter(self.architectures or ()), None) or self.model_type or "model of no class"


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
    dropout_rate: Share = 0.1
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
    attention_dropout: Share = 0.0

    @model_validator(mode="after")
    def _whole(self) -> "ClipFields":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size: must be a multiple of num_attention_heads")
        if self.image_size < self.patch_size:
            raise ValueError("image_size: must be at least patch_size")
        return self


class ClipConfig(Config):
    """A whole CLIP, or its vision tower alone."""

    model_type: Literal["clip", "clip_vision_model"]
    vision_config: ClipFields | None = None


class AutoencoderFields(Config):
    """CogVideoX's autoencoder."""

    class_name: Literal["AutoencoderKLCogVideoX"] = Field(default="AutoencoderKLCogVideoX", alias="_class_name")
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    block_out_channels: Annotated[list[Width], Field(min_length=1, max_length=8)] = [128, 256, 256, 512]
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


def read_config(path: Path, kind: type[T], *, within: str | None = None) -> T:
    """What a configuration file says, checked.

    Args:
        path: the file.
        kind: what it must say: a `Config`, or any other type that pydantic knows.
        within: the key of a table in it that says it.

    Raises:
        ValueError: the file is missing, too large or no JSON object, a value is not what it must be, or a key asks for
            code of the model's own; names the file and the key.
    """
    content = read_object(path)
    return validated(content if within is None else content.get(within, {}), kind, path)


def validated(content: Any, kind: type[T], path: Path, *, names: Mapping[str, str] | None = None) -> T:
    """A value that was read from `path`, as a `kind`. `names` are the file's own names of its fields.

    Raises:
        ValueError: it is none; names the file and the key.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(content))  # in which lists may be tuples
    except ValidationError as error:
        known = kind if isinstance(kind, type) and issubclass(kind, Settings) else None
        raise ValueError(f"{path}: {explain(error, known, names=names)}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply") from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a configuration file, its values unchecked.

    Raises:
        ValueError: the file is missing, too large or no JSON object, or asks for code; names the file and the key.
    """
    if path.is_file() and path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes are too many for a configuration")
    content = read_json(path)
    tables = [content]
    for table in tables:  # which grows
        if "auto_map" in table:
            raise ValueError(
                f"{path}: auto_map: names Python code that comes with the model, and refilm runs none; remove the "
                "key if the model is one that refilm reads"
            )
        tables += [value for value in table.values() if isinstance(value, dict)]
    return content
