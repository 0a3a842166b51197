"""Loading and saving of the autoencoder in diffusers' layout: `config.json` and safetensors weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator

from refilm.arguments import checked
from refilm.backbones.autoencoders import WEIGHTS, save_folder
from refilm.backbones.cogvideox.autoencoder.model import ActivationName, Autoencoder, AutoencoderSize
from refilm.errors import UserError
from refilm.geometry import Layers, Width
from refilm.weights.configs import Config, read_config
from refilm.weights.files import weight_files
from refilm.weights.tensors import Piece, TensorFiles, fill, unfilled

_CLASS = "AutoencoderKLCogVideoX"
_DOWN, _UP = "CogVideoXDownBlock3D", "CogVideoXUpBlock3D"


class AutoencoderFields(Config):
    """The content of `config.json`."""

    class_name: Literal["AutoencoderKLCogVideoX"] = Field(default=_CLASS, alias="_class_name")
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    block_out_channels: Annotated[list[Width], Field(min_length=1, max_length=8)] = Field(default=[128, 256, 256, 512])
    down_block_types: Annotated[list[Literal["CogVideoXDownBlock3D"]], Field(min_length=1, max_length=8)] = [_DOWN] * 4
    up_block_types: Annotated[list[Literal["CogVideoXUpBlock3D"]], Field(min_length=1, max_length=8)] = [_UP] * 4
    latent_channels: Width = 16
    layers_per_block: Layers = 3
    act_fn: ActivationName = "silu"
    norm_eps: Annotated[float, Field(gt=0, le=1)] = 1e-6
    norm_num_groups: Width = 32
    temporal_compression_ratio: Annotated[float, Field(ge=1, le=128)] = 4
    sample_height: Width = 480
    sample_width: Width = 720
    scaling_factor: Annotated[float, Field(gt=0, le=1e6)] = 1.15258426
    use_quant_conv: Literal[False] = False
    use_post_quant_conv: Literal[False] = False

    @model_validator(mode="after")
    def _even(self) -> "AutoencoderFields":
        levels = len(self.block_out_channels)
        if len(self.down_block_types) != levels or len(self.up_block_types) != levels:
            raise UserError("down_block_types, up_block_types: must be as many as block_out_channels")
        if any(channels % self.norm_num_groups for channels in self.block_out_channels):
            raise UserError("block_out_channels: must be multiples of norm_num_groups")
        ratio = self.temporal_compression_ratio
        if ratio != int(ratio) or int(ratio) & (int(ratio) - 1) or ratio > 1 << (levels - 1):
            raise UserError("temporal_compression_ratio: must be a power of two, halved at most once a level")
        return self

    @property
    def size(self) -> AutoencoderSize:
        """The sizes."""
        return AutoencoderSize(
            channels=tuple(self.block_out_channels),
            latent_channels=self.latent_channels,
            layers=self.layers_per_block,
            norm_groups=self.norm_num_groups,
            norm_eps=self.norm_eps,
            activation=self.act_fn,
            temporal_compression=int(self.temporal_compression_ratio),
            height=self.sample_height,
            width=self.sample_width,
        )


@checked
def load_autoencoder(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Autoencoder:
    """Load CogVideoX's autoencoder.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    fields = read_config(folder / "config.json", AutoencoderFields)
    files = TensorFiles(weight_files(folder, WEIGHTS))
    files.require_layers(fields.layers_per_block)
    return filled(fields, files, dtype=dtype, device=device)


def filled(
    fields: AutoencoderFields,
    files: TensorFiles,
    *,
    name: Callable[[str], str] = str,
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> Autoencoder:
    """An autoencoder with weights from `files`, where each has the key that `name` gives it.

    Raises:
        UserError: a key, shape or dtype is wrong, or a value is not finite; names the file and the key.
    """
    with unfilled():
        model = Autoencoder(fields.size, scaling_factor=fields.scaling_factor)
    layout = {own: (Piece(name(own)),) for own in model.state_dict()}
    fill(model, files, layout, dtype=dtype, device=device)
    return model.eval()


def save_autoencoder(model: Autoencoder, folder: Path) -> None:
    """Write an autoencoder atomically, for diffusers and `load_autoencoder`. Other files in the folder are kept."""
    save_folder(model, config_of(model), folder)


def config_of(model: Autoencoder) -> dict[str, Any]:
    """The content of `config.json`, with the keys that refilm reads; diffusers has defaults for the others."""
    size, levels = model.size, len(model.size.channels)
    return {
        "_class_name": _CLASS,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": list(size.channels),
        "down_block_types": [_DOWN] * levels,
        "up_block_types": [_UP] * levels,
        "latent_channels": size.latent_channels,
        "layers_per_block": size.layers,
        "act_fn": size.activation,
        "norm_eps": size.norm_eps,
        "norm_num_groups": size.norm_groups,
        "temporal_compression_ratio": size.temporal_compression,
        "sample_height": size.height,
        "sample_width": size.width,
        "scaling_factor": model.scaling_factor,
    }
