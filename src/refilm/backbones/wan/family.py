"""Wan 2.1 as a `refilm.backbones.Family`.

A Wan transformer can be trained with CogVideoX's encoders, as small models are. So text encoder and autoencoder are
loaded as what their own configs say they are.
"""

import math
from pathlib import Path
from typing import Any

import torch

from refilm.backbones.cogvideox import family as cogvideox
from refilm.backbones.cogvideox import text as cogvideox_text
from refilm.backbones.wan import autoencoder, text
from refilm.backbones.wan.diffusers_format import (
    TRANSFORMER,
    defaults_of,
    load_transformer,
    load_transformer_file,
    save_transformer,
    size_of,
)
from refilm.backbones.wan.schedules import SHIFT, load_schedule, save_schedule
from refilm.backbones.wan.sizes import WanSize
from refilm.backbones.wan.text import load_tokenizer
from refilm.backbones.wan.transformer import WanTransformer
from refilm.encoders import LatentCodec, TextEncoder
from refilm.files import write_json
from refilm.geometry import Compression, Geometry
from refilm.weights.configs import KindConfig, read_config

NAME = "Wan"
native = None
_INDEX = {
    "_class_name": "WanPipeline",
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", TRANSFORMER],
    "vae": ["diffusers", "AutoencoderKLWan"],
}

__all__ = [
    "NAME",
    "TRANSFORMER",
    "compression_of",
    "create",
    "create_layout",
    "defaults_of",
    "load_codec",
    "load_schedule",
    "load_text_encoder",
    "load_tokenizer",
    "load_transformer",
    "load_transformer_file",
    "native",
    "save_transformer",
    "size_of",
]


def create(size: WanSize) -> WanTransformer:
    """A new transformer."""
    return WanTransformer(size)


def load_text_encoder(
    folder: Path, tokenizer: Path, *, length: int, dtype: torch.dtype | None, device: torch.device | str
) -> TextEncoder:
    """Load the text encoder, UMT5's or T5's, and its tokenizer."""
    kind = read_config(folder / "config.json", KindConfig).model_type
    load = cogvideox_text.load_text_encoder if kind == "t5" else text.load_text_encoder
    return load(folder, tokenizer, length=length, dtype=dtype, device=device)


def load_codec(
    folder: Path,
    size: Geometry,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str,
    decode_frames: int | None,
) -> LatentCodec:
    """Load the autoencoder, Wan's or CogVideoX's."""
    return _codecs(folder).load_codec(folder, size, dtype=dtype, device=device, decode_frames=decode_frames)


def compression_of(folder: Path, size: Geometry) -> Compression:
    """Compression factors of an autoencoder's folder, with the patch of a transformer of that size."""
    return _codecs(folder).compression_of(folder, size)


def _codecs(folder: Path) -> Any:
    """The module of the autoencoder's family."""
    kind = read_config(folder / "config.json", KindConfig).class_name
    return cogvideox if kind == "AutoencoderKLCogVideoX" else autoencoder


def create_layout(folder: Path, size: WanSize, *, snr_shift: float | None = None) -> None:
    """Write the schedule and the index of a base model's folder. Default: the published schedule.

    A shift of the levels by s divides the signal-to-noise ratio by s^2.
    """
    save_schedule(folder / "scheduler", shift=SHIFT if snr_shift is None else math.sqrt(snr_shift))
    write_json(folder / "model_index.json", _INDEX)
