"""Loading and saving of the autoencoder in diffusers' layout: `config.json` and safetensors weights."""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator

from refilm.arguments import checked
from refilm.backbones.autoencoders import WEIGHTS, require_channels, save_folder
from refilm.backbones.wan.autoencoder.codec import VideoAutoencoder
from refilm.backbones.wan.autoencoder.model import Autoencoder, AutoencoderSize
from refilm.errors import UserError
from refilm.geometry import Compression, Geometry, Layers, Width
from refilm.weights.configs import Config, read_object, validated
from refilm.weights.files import weight_files
from refilm.weights.tensors import Piece, TensorFiles, fill, unfilled

_CLASS = "AutoencoderKLWan"
_WIDEST = 1 << 16
_Mean = Annotated[float, Field(ge=-1e6, le=1e6)]
_Std = Annotated[float, Field(gt=0, le=1e6)]
MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
"""Mean of the published autoencoder's latent channels, as in diffusers."""
STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip
"""Standard deviation of the published autoencoder's latent channels, as in diffusers."""


class AutoencoderFields(Config):
    """The content of `config.json`."""

    class_name: Literal["AutoencoderKLWan"] = Field(default=_CLASS, alias="_class_name")
    base_dim: Width = 96
    decoder_base_dim: None = None
    z_dim: Width = 16
    dim_mult: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (1, 2, 4, 4)
    num_res_blocks: Layers = 2
    attn_scales: tuple[()] = ()
    temperal_downsample: Annotated[tuple[bool, ...], Field(max_length=8)] = (False, True, True)
    latents_mean: Annotated[tuple[_Mean, ...], Field(max_length=_WIDEST)] = MEAN
    latents_std: Annotated[tuple[_Std, ...], Field(max_length=_WIDEST)] = STD
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3

    @model_validator(mode="after")
    def _consistent(self) -> "AutoencoderFields":
        if len(self.temperal_downsample) != len(self.dim_mult) - 1:
            raise UserError("temperal_downsample: must have one entry fewer than dim_mult")
        if self.base_dim * max(self.dim_mult) > _WIDEST:
            raise UserError(f"base_dim, dim_mult: more than {_WIDEST} channels")
        if len(self.latents_mean) != self.z_dim or len(self.latents_std) != self.z_dim:
            raise UserError(f"latents_mean, latents_std: must have as many numbers as z_dim, {self.z_dim}")
        return self

    @property
    def size(self) -> AutoencoderSize:
        """The sizes."""
        return AutoencoderSize(
            base=self.base_dim,
            multiples=self.dim_mult,
            halves_time=self.temperal_downsample,
            layers=self.num_res_blocks,
            latent_channels=self.z_dim,
        )


def compression_of(folder: Path, size: Geometry) -> Compression:
    """Compression factors of an autoencoder's folder, with the patch of a transformer of that size."""
    fields = _fields(folder)
    require_channels(fields.z_dim, size, folder / "config.json", "z_dim")
    return fields.size.compression.read_by(size)


def load_codec(
    folder: Path,
    size: Geometry,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str,
    decode_frames: int | None,
) -> VideoAutoencoder:
    """Load an autoencoder, which encodes and decodes `decode_frames` latent frames at a time; None: all at once."""
    model = load_autoencoder(folder, dtype=dtype, device=device)
    return VideoAutoencoder(model, model.size.compression.read_by(size), decode_frames=decode_frames)


@checked
def load_autoencoder(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Autoencoder:
    """Load Wan 2.1's autoencoder.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    fields = _fields(folder)
    files = TensorFiles(weight_files(folder, WEIGHTS))
    files.require_layers(fields.num_res_blocks)
    with unfilled():
        model = Autoencoder(fields.size, mean=fields.latents_mean, std=fields.latents_std)
    fill(model, files, {name: (Piece(name),) for name in model.state_dict()}, dtype=dtype, device=device)
    return model.eval()


def save_autoencoder(model: Autoencoder, folder: Path) -> None:
    """Write an autoencoder atomically, for diffusers and `load_autoencoder`. Other files in the folder are kept."""
    save_folder(model, config_of(model), folder)


def config_of(model: Autoencoder) -> dict[str, Any]:
    """The content of `config.json`, with the keys that refilm or diffusers' pipeline reads."""
    size = model.size
    return {
        "_class_name": _CLASS,
        "base_dim": size.base,
        "z_dim": size.latent_channels,
        "dim_mult": list(size.multiples),
        "num_res_blocks": size.layers,
        "attn_scales": [],
        "temperal_downsample": list(size.halves_time),
        "dropout": 0.0,
        "latents_mean": list(model.mean),
        "latents_std": list(model.std),
        "scale_factor_temporal": size.compression.time,
        "scale_factor_spatial": size.compression.space,
    }


def _fields(folder: Path) -> AutoencoderFields:
    path = folder / "config.json"
    content = read_object(path)
    second = content.get("is_residual") or content.get("patch_size") is not None
    if second and content.get("_class_name", _CLASS) == _CLASS:
        raise UserError(f"{path}: is_residual, patch_size: this is Wan 2.2's autoencoder; refilm supports Wan 2.1's")
    return validated(content, AutoencoderFields, path)
