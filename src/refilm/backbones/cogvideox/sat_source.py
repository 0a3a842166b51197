"""A base model in SAT format: a SAT checkpoint, its autoencoder, and a T5 in the layout of transformers."""

from pathlib import Path

import torch

from refilm.backbones.cogvideox.autoencoder import VideoAutoencoder
from refilm.backbones.cogvideox.sat import open_sat
from refilm.backbones.cogvideox.sat_autoencoder import (
    SCALES,
    find_sat_autoencoder,
    load_sat_autoencoder,
    sat_autoencoder_fields,
)
from refilm.backbones.cogvideox.schedules import SNR_SHIFTS
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.text import load_text_encoder
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.backbones.family import Family
from refilm.backbones.table import family
from refilm.backbones.tokenizer import load_tokenizer
from refilm.diffusion import Schedule, scaled_linear
from refilm.encoders import LatentCodec, TextEncoder, Tokenizer
from refilm.errors import UserError
from refilm.geometry import Compression
from refilm.model import Adapter
from refilm.weights.configs import KindConfig, read_config
from refilm.weights.tensors import TensorFiles


class SatSource:
    """A SAT folder: a SAT checkpoint, its autoencoder, and a T5 in the layout of transformers."""

    def __init__(self, folder: Path):
        self.folder = folder
        file = open_sat(folder)
        if file.sizes is None:
            raise UserError(f"{file.path}: contains an adapter but no transformer; use a complete checkpoint")
        self.size: TransformerSize = file.sizes.size
        """Sizes of the transformer."""

    @property
    def family(self) -> Family:
        """CogVideoX."""
        return family("cogvideox")

    def compression(self) -> Compression:
        """Compression factors of the autoencoder, with the patch of the transformer."""
        fields = sat_autoencoder_fields(TensorFiles([self._autoencoder()]), scaling_factor=1.0)
        return fields.size.compression.read_by(self.size)

    def schedule(self) -> Schedule:
        """The published noise schedule of the model."""
        return scaled_linear(snr_shift=SNR_SHIFTS[self.size.position])

    def transformer(self, dtype: torch.dtype, device: torch.device) -> Transformer:
        """The transformer."""
        return open_sat(self.folder).transformer(dtype=dtype, device=device)

    def text(self, length: int, dtype: torch.dtype, device: torch.device) -> TextEncoder:
        """The text encoder and its tokenizer."""
        return load_text_encoder(*self._t5(), length=length, dtype=dtype, device=device)

    def tokenizer(self) -> Tokenizer:
        """The text encoder's tokenizer alone."""
        return load_tokenizer(self._t5()[1])

    def autoencoder(self, dtype: torch.dtype, device: torch.device, *, decode_frames: int | None) -> LatentCodec:
        """The autoencoder, which decodes `decode_frames` latent frames at a time; None: all at once."""
        scale = SCALES[self.size.position]
        model = load_sat_autoencoder(self._autoencoder(), scaling_factor=scale, dtype=dtype, device=device)
        return VideoAutoencoder(model, model.size.compression.read_by(self.size), decode_frames=decode_frames)

    def adapter(self, dtype: torch.dtype) -> Adapter | None:
        """The adapter in the checkpoint, if there is one.

        Raises:
            UserError: it has no image projection and cannot encode images.
        """
        file = open_sat(self.folder)
        if file.adapter_size is None:
            return None
        if file.projection is None:
            raise UserError(
                f"{file.path}: its adapter has no image projection; load the base model without it (adapter None), or "
                "the transformer with refilm.checkpoints.load_denoiser"
            )
        return file.adapter(dtype=dtype)

    def _t5(self) -> tuple[Path, Path]:
        places = find_t5(self.folder)
        if places is None:
            raise UserError(
                f"{self.folder}: no T5 in it or next to it; add a folder t5-v1_1-xxl with config.json, weights and "
                "spiece.model (text_encoder/ and tokenizer/ of THUDM/CogVideoX-2b combined)"
            )
        return places

    def _autoencoder(self) -> Path:
        path = find_sat_autoencoder(self.folder)
        if path is None:
            raise UserError(f"{self.folder}: no autoencoder in it; copy 3d-vae.pt there, or to a subfolder vae")
        return path


def find_t5(folder: Path) -> tuple[Path, Path] | None:
    """The folders of a T5 and of its tokenizer, in a folder or next to it; they can be the same folder."""
    for place in (*sorted(folder.glob("*")), *sorted(folder.parent.glob("t5*"))):
        if (place / "config.json").is_file() and read_config(place / "config.json", KindConfig).model_type == "t5":
            own = any((place / name).is_file() for name in ("spiece.model", "tokenizer.json"))
            return place, place if own else place.parent / "tokenizer"
    return None
