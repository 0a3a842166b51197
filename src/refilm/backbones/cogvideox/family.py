"""CogVideoX as a `refilm.backbones.Family`."""

from pathlib import Path

import torch

from refilm.backbones.autoencoders import require_channels
from refilm.backbones.cogvideox import native
from refilm.backbones.cogvideox.autoencoder import (
    AutoencoderFields,
    VideoAutoencoder,
    load_autoencoder,
)
from refilm.backbones.cogvideox.diffusers_format import (
    TRANSFORMER,
    defaults_of,
    load_transformer,
    load_transformer_file,
    save_transformer,
    size_of,
)
from refilm.backbones.cogvideox.schedules import SNR_SHIFTS, load_schedule, save_schedule
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.text import load_text_encoder
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.backbones.tokenizer import load_tokenizer
from refilm.files import write_json
from refilm.geometry import Compression, Geometry
from refilm.weights.configs import read_config

NAME = "CogVideoX"
_INDEX = {
    "_class_name": "CogVideoXPipeline",
    "scheduler": ["diffusers", "CogVideoXDPMScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", TRANSFORMER],
    "vae": ["diffusers", "AutoencoderKLCogVideoX"],
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


def create(size: TransformerSize) -> Transformer:
    """A new transformer."""
    return Transformer(size)


def compression_of(folder: Path, size: Geometry) -> Compression:
    """Compression factors of an autoencoder's folder, with the patch of a transformer of that size."""
    path = folder / "config.json"
    fields = read_config(path, AutoencoderFields)
    require_channels(fields.latent_channels, size, path, "latent_channels")
    return fields.size.compression.read_by(size)


def load_codec(
    folder: Path,
    size: Geometry,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str,
    decode_frames: int | None,
) -> VideoAutoencoder:
    """Load an autoencoder, which decodes `decode_frames` latent frames at a time; None: all at once."""
    model = load_autoencoder(folder, dtype=dtype, device=device)
    return VideoAutoencoder(model, model.size.compression.read_by(size), decode_frames=decode_frames)


def create_layout(folder: Path, size: TransformerSize, *, snr_shift: float | None = None) -> None:
    """Write the noise schedule and the index of a base model's folder. Default: the published schedule."""
    save_schedule(folder / "scheduler", snr_shift=snr_shift or SNR_SHIFTS[size.position])
    write_json(folder / "model_index.json", _INDEX)
