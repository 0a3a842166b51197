"""Wan 2.1 as a `refilm.backbones.Family`."""

import math
from pathlib import Path

from refilm.backbones.cogvideox.family import (
    compression_of,
    load_codec,
    load_text_encoder,
    load_tokenizer,
    save_autoencoder,
)
from refilm.backbones.wan.diffusers_format import (
    TRANSFORMER,
    frames_of,
    load_transformer,
    load_transformer_file,
    save_transformer,
    size_of,
)
from refilm.backbones.wan.schedules import SHIFT, load_schedule, save_schedule
from refilm.backbones.wan.sizes import WanSize
from refilm.backbones.wan.transformer import WanTransformer
from refilm.files import write_json

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
    "frames_of",
    "load_codec",
    "load_schedule",
    "load_text_encoder",
    "load_tokenizer",
    "load_transformer",
    "load_transformer_file",
    "native",
    "save_autoencoder",
    "save_transformer",
    "size_of",
]


def create(size: WanSize) -> WanTransformer:
    """A new transformer."""
    return WanTransformer(size)


def create_layout(folder: Path, size: WanSize, *, snr_shift: float | None = None) -> None:
    """Write the schedule and the index of a base model's folder. Default: the published schedule.

    A shift of the levels by s divides the signal-to-noise ratio by s^2.
    """
    save_schedule(folder / "scheduler", shift=SHIFT if snr_shift is None else math.sqrt(snr_shift))
    write_json(folder / "model_index.json", _INDEX)
