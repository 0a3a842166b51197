"""Sources of a base model: a folder in diffusers' layout, a SAT folder, or the Hub.

A source reads sizes when it is opened and weights only when a part is loaded.
"""

from dataclasses import replace
from pathlib import Path

import torch

from refilm.backbones.cogvideox.autoencoder import AutoencoderFields, VideoAutoencoder, load_autoencoder
from refilm.backbones.cogvideox.text import load_text_encoder
from refilm.backbones.cogvideox.tokenizer import Tokenizer, load_tokenizer
from refilm.checkpoints.diffusers_format import load_transformer, size_of
from refilm.checkpoints.foreign import refuse_foreign
from refilm.checkpoints.image_encoders import load_image_encoder
from refilm.checkpoints.sat import is_sat, open_sat
from refilm.checkpoints.sat_autoencoder import (
    SCALES,
    find_sat_autoencoder,
    load_sat_autoencoder,
    sat_autoencoder_fields,
)
from refilm.checkpoints.schedules import load_schedule
from refilm.diffusion import Schedule, scaled_linear
from refilm.encoders import Fit, HiddenState, ImageEncoder, LatentCodec, TextEncoder
from refilm.errors import UserError
from refilm.files import atomic_file, link_or_copy
from refilm.hub import fetched, is_hub_id
from refilm.model import Adapter, Transformer
from refilm.sizes import Compression, TransformerSize
from refilm.weights.configs import KindConfig, read_config
from refilm.weights.tensors import TensorFiles

POCKET = Path(__file__).parents[1] / "pocket" / "model"
ADAPTER = ("adapter.json", "adapter.safetensors", "lora.safetensors", "README.md")
CLIP = "openai/clip-vit-large-patch14"
_WEIGHTED = ("transformer", "vae", "text_encoder", "image_encoder", "adapter")
_PLAIN = ("model_index.json", "refilm.json", "scheduler/*.json", "image_processor/*.json")
_TOKENIZER = ("tokenizer/*.json", "tokenizer/spiece.model")
_BASE = (*_PLAIN, *_TOKENIZER, *(f"{part}/*.{suffix}" for part in _WEIGHTED for suffix in ("json", "safetensors")))
_ENCODER = ("config.json", "preprocessor_config.json", "model*.safetensors", "model.safetensors.index.json")
SNR_SHIFTS = {"sincos": 3.0, "rotary": 1.0}  # of CogVideoX-2B and 5B; not in SAT files


class DiffusersSource:
    """A folder in diffusers' layout."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def size(self) -> TransformerSize:
        """Sizes of the transformer."""
        return size_of(self.folder / "transformer" / "config.json")

    def compression(self, patch: int) -> Compression:
        """Compression factors of the autoencoder."""
        path = self.folder / "vae" / "config.json"
        return replace(read_config(path, AutoencoderFields).size.compression, patch=patch)

    def schedule(self) -> Schedule:
        """The noise schedule."""
        return load_schedule(self.folder / "scheduler")

    def transformer(self, dtype: torch.dtype, device: torch.device) -> Transformer:
        """The transformer."""
        return load_transformer(self.folder / "transformer", dtype=dtype, device=device)

    def text(self, length: int, dtype: torch.dtype, device: torch.device) -> TextEncoder:
        """The text encoder and its tokenizer."""
        places = self.folder / "text_encoder", self.folder / "tokenizer"
        return load_text_encoder(*places, length=length, dtype=dtype, device=device)

    def tokenizer(self) -> Tokenizer:
        """The text encoder's tokenizer alone."""
        return load_tokenizer(self.folder / "tokenizer")

    def adapter(self, dtype: torch.dtype) -> Adapter | None:
        """None: in this layout the adapter has its own folder."""
        return None

    def autoencoder(self, dtype: torch.dtype, device: torch.device, *, decode_frames: int | None) -> LatentCodec:
        """The autoencoder, which decodes `decode_frames` latent frames at a time; None: all at once."""
        model = load_autoencoder(self.folder / "vae", dtype=dtype, device=device)
        return VideoAutoencoder(model, decode_frames=decode_frames)


class SatSource:
    """A SAT folder: a SAT checkpoint, its autoencoder, and a T5 in the layout of transformers."""

    def __init__(self, folder: Path):
        self.folder = folder
        file = open_sat(folder)
        if file.sizes is None:
            raise UserError(f"{file.path}: contains an adapter but no transformer; use a complete checkpoint")
        self.size: TransformerSize = file.sizes.size
        """Sizes of the transformer."""

    def compression(self, patch: int) -> Compression:
        """Compression factors of the autoencoder."""
        fields = sat_autoencoder_fields(TensorFiles([self._autoencoder()]), scaling_factor=1.0)
        return replace(fields.size.compression, patch=patch)

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
        return VideoAutoencoder(model, decode_frames=decode_frames)

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


def open_source(source: str | Path, *, weights: bool = True) -> DiffusersSource | SatSource:
    """Open the source of a base model.

    Args:
        source: `pocket`, a folder, or a Hub id.
        weights: whether to download the weights from the Hub as well.

    Raises:
        UserError: the model does not exist; lists the allowed sources.
    """
    folder = base_folder(source, weights=weights)
    return SatSource(folder) if is_sat(folder) else DiffusersSource(folder)


def located(source: str | Path) -> Path:
    """The local path of any weights: `pocket`, a file or folder, or a base model or adapter on the Hub.

    Raises:
        UserError: the file or folder does not exist, or the download failed; says what to do.
    """
    if is_hub_id(source):
        folder = fetched(str(source), ADAPTER)
        return folder if (folder / ADAPTER[0]).is_file() else base_folder(source)
    path = POCKET if str(source) == "pocket" else Path(source)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    return path


def base_folder(source: str | Path, *, weights: bool = True) -> Path:
    """The local folder of a base model, downloaded from the Hub if needed, with or without weights.

    Raises:
        UserError: the model does not exist; lists the allowed sources.
    """
    if is_hub_id(source):
        folder = fetched(str(source), _BASE if weights else (*_PLAIN, *_TOKENIZER, "*/config.json"))
        if not _is_pipeline(folder):
            raise UserError(
                f"{source}: its folder in the Hub's cache ({folder}) is not a base model: transformer/config.json is "
                "missing; download it again, or use another model"
            )
        return folder
    folder = POCKET if source == "pocket" else Path(source)
    if not _is_pipeline(folder) and not is_sat(folder):
        refuse_foreign(folder)
        raise UserError(
            f"unknown base model {str(source)!r}: use 'pocket', a folder in diffusers' layout "
            "(model_index.json, transformer/, vae/, text_encoder/, ...), a SAT checkpoint's folder (latest, 1/, ...), "
            "or a Hub id such as THUDM/CogVideoX-2b"
        )
    return folder


def whole_base(source: str | Path) -> Path:
    """The folder of a base model in diffusers' layout with all parts, from which another can be created.

    Raises:
        UserError: the model does not exist, or is in SAT layout.
    """
    folder = base_folder(source)
    if is_sat(folder):
        raise UserError(f"{folder}: is in SAT layout; convert it to diffusers' layout: refilm convert {folder} OUT")
    return folder


def copy_base(folder: Path, out: Path) -> None:
    """Copy a base model without its transformer and adapter to another folder, with hard links where possible.

    Existing files in `out` are replaced one by one.
    """
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if not path.is_file() or inside.parts[0] in ("transformer", "adapter") or inside.parts[0].startswith("."):
            continue
        with atomic_file(out / inside) as temporary:
            link_or_copy(path, temporary)


def image_encoder_of(source: str | Path) -> str | None:
    """Hub id of the image encoder of a base model. None: it has its own."""
    return None if (base_folder(source) / "image_encoder").is_dir() else CLIP


def find_t5(folder: Path) -> tuple[Path, Path] | None:
    """The folders of a T5 and of its tokenizer, in a folder or next to it; they can be the same folder."""
    for place in (*sorted(folder.glob("*")), *sorted(folder.parent.glob("t5*"))):
        if (place / "config.json").is_file() and read_config(place / "config.json", KindConfig).model_type == "t5":
            own = any((place / name).is_file() for name in ("spiece.model", "tokenizer.json"))
            return place, place if own else place.parent / "tokenizer"
    return None


def open_image_encoder(
    name: str | None,
    folder: Path,
    *,
    fit: Fit = "pad",
    hidden_state: HiddenState = "last",
    dtype: torch.dtype,
    device: torch.device,
) -> ImageEncoder:
    """Load the image encoder of an adapter.

    Args:
        name: a Hub id or a folder that also contains the image processor's config. Default: the base model's own image
            encoder, or CLIP ViT-L.
        folder: the folder of the base model.
        fit: how an image becomes a square.
        hidden_state: the hidden state used as tokens.
        dtype: dtype of the weights.
        device: device of the weights.

    Raises:
        UserError: it cannot be found or read; says how to fix it.
    """
    place, processor = folder / "image_encoder", folder / "image_processor"
    if name is not None or not place.is_dir():
        place = Path(name or CLIP)
        processor = place = place if place.is_dir() else _fetched_encoder(name or CLIP)
    return load_image_encoder(place, processor, fit=fit, hidden_state=hidden_state, dtype=dtype, device=device)


def _fetched_encoder(name: str) -> Path:
    try:
        return fetched(name, _ENCODER)
    except UserError as error:
        raise UserError(f"the image encoder {error}; or pass its folder as image_encoder (--image-encoder)") from error


def _is_pipeline(folder: Path) -> bool:
    return (folder / "transformer" / "config.json").is_file()
