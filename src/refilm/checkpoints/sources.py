"""Sources of a base model: a folder in diffusers' layout, a SAT folder, or the Hub.

A source reads sizes when it is opened and weights only when a part is loaded.
"""

from pathlib import Path

import torch

from refilm.backbones import Family, Source, family_in, family_of, native_format
from refilm.checkpoints.foreign import refuse_foreign
from refilm.checkpoints.image_encoders import load_image_encoder
from refilm.diffusion import Process
from refilm.encoders import ImageEncoder, LatentCodec, TextEncoder, Tokenizer
from refilm.errors import UserError
from refilm.files import atomic_file, link_or_copy
from refilm.geometry import Compression, Geometry
from refilm.hub import fetched, is_hub_id, must_be_fetched
from refilm.media.preprocessing import ImagePreprocessing
from refilm.model import Adapter, Backbone
from refilm.previews import PREVIEW

POCKET = Path(__file__).parents[1] / "pocket" / "model"
ADAPTER = ("adapter.json", "adapter.safetensors", "lora.safetensors", "README.md")
CLIP = "openai/clip-vit-large-patch14"
SAT_PREPROCESSING = ImagePreprocessing(image_encoder=CLIP, image_fit="squash-bilinear", hidden_state="last")
_WEIGHTED = ("transformer", "vae", "text_encoder", "image_encoder", "adapter")
_PLAIN = ("model_index.json", "refilm.json", "scheduler/*.json", "image_processor/*.json")
_TOKENIZER = ("tokenizer/*.json", "tokenizer/spiece.model")
_BASE = (
    *_PLAIN,
    *_TOKENIZER,
    PREVIEW,
    "magnitudes.json",
    *(f"{part}/*.{suffix}" for part in _WEIGHTED for suffix in ("json", "safetensors")),
)
_ENCODER = ("config.json", "preprocessor_config.json", "model*.safetensors", "model.safetensors.index.json")


class DiffusersSource:
    """A folder in diffusers' layout.

    Args:
        folder: the folder.
        size: sizes of the transformer. Default: read from the transformer's config.
    """

    def __init__(self, folder: Path, size: Geometry | None = None):
        self.folder, self._size = folder, size

    @property
    def family(self) -> Family:
        """The family of the given size, or the one that the transformer's config names."""
        return family_in(self.folder / "transformer") if self._size is None else family_of(self._size)

    @property
    def size(self) -> Geometry:
        """Sizes of the transformer."""
        return self._size or self.family.size_of(self.folder / "transformer" / "config.json")

    def compression(self) -> Compression:
        """Compression factors of the autoencoder, with the patch of the transformer."""
        return self.family.compression_of(self.folder / "vae", self.size)

    def schedule(self) -> Process:
        """The noise schedule."""
        return self.family.load_schedule(self.folder / "scheduler")

    def transformer(self, dtype: torch.dtype, device: torch.device) -> Backbone:
        """The transformer."""
        return self.family.load_transformer(self.folder / "transformer", dtype=dtype, device=device)

    def text(self, length: int, dtype: torch.dtype, device: torch.device) -> TextEncoder:
        """The text encoder and its tokenizer."""
        places = self.folder / "text_encoder", self.folder / "tokenizer"
        return self.family.load_text_encoder(*places, length=length, dtype=dtype, device=device)

    def tokenizer(self) -> Tokenizer:
        """The text encoder's tokenizer alone."""
        return self.family.load_tokenizer(self.folder / "tokenizer")

    def adapter(self, dtype: torch.dtype) -> Adapter | None:
        """None: in this layout the adapter has its own folder."""
        return None

    def autoencoder(self, dtype: torch.dtype, device: torch.device, *, decode_frames: int | None) -> LatentCodec:
        """The autoencoder, which decodes `decode_frames` latent frames at a time; None: all at once."""
        return self.family.load_codec(
            self.folder / "vae", self.size, dtype=dtype, device=device, decode_frames=decode_frames
        )


def open_source(source: str | Path, *, weights: bool = True) -> Source:
    """Open the source of a base model.

    Args:
        source: `pocket`, a folder, or a Hub id.
        weights: whether to download the weights from the Hub as well.

    Raises:
        UserError: the model does not exist; lists the allowed sources.
    """
    folder = base_folder(source, weights=weights)
    native = native_format(folder)
    return DiffusersSource(folder) if native is None else native.source(folder)


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
    if not _is_pipeline(folder) and not _is_native(folder):
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
    native = native_format(folder)
    if native is not None:
        raise UserError(
            f"{folder}: is in {native.NAME} layout; convert it to diffusers' layout: refilm convert {folder} OUT"
        )
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


def open_image_encoder(
    preprocessing: ImagePreprocessing,
    folder: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> ImageEncoder:
    """Load the image encoder of an adapter.

    Args:
        preprocessing: names the encoder, by a Hub id or a folder that also contains the image processor's config. None:
            the base model's own image encoder, or CLIP ViT-L.
        folder: the folder of the base model.
        dtype: dtype of the weights.
        device: device of the weights.

    Raises:
        UserError: it cannot be found or read; says how to fix it.
    """
    name, place, processor = preprocessing.image_encoder, folder / "image_encoder", folder / "image_processor"
    if name is not None or not place.is_dir():
        place = Path(name or CLIP)
        processor = place = place if place.is_dir() else _fetched_encoder(name or CLIP)
    return load_image_encoder(place, processor, preprocessing, dtype=dtype, device=device)


def image_encoder_is_local(preprocessing: ImagePreprocessing, folder: Path) -> bool:
    """Whether `open_image_encoder` needs no download."""
    if preprocessing.image_encoder is None and (folder / "image_encoder").is_dir():
        return True
    return not must_be_fetched(preprocessing.image_encoder or CLIP, files=_ENCODER[:1])


def _fetched_encoder(name: str) -> Path:
    try:
        return fetched(name, _ENCODER)
    except UserError as error:
        raise UserError(f"the image encoder {error}; or pass its folder as image_encoder (--image-encoder)") from error


def _is_native(folder: Path) -> bool:
    return folder.is_dir() and native_format(folder) is not None


def _is_pipeline(folder: Path) -> bool:
    return (folder / "transformer" / "config.json").is_file()
