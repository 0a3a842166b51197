"""An adapter as a folder with `adapter.safetensors` (weights), `adapter.json` (metadata) and `README.md` (model card).

The model card is generated from the metadata. An adapter with LoRA also has `lora.safetensors`. Independent of
training: facts about the training are free-form metadata.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, JsonValue, PositiveInt
from torch import Tensor

from refilm.arguments import checked
from refilm.backbones import family_name, native_format
from refilm.checkpoints.foreign import refuse_foreign
from refilm.checkpoints.lora import LoraSettings, TunedAdapter
from refilm.checkpoints.model_card import model_card
from refilm.checkpoints.sources import ADAPTER, POCKET
from refilm.errors import UserError
from refilm.files import atomic_folder, write_text
from refilm.geometry import AdapterSize, Geometry
from refilm.hub import fetched, is_hub_id
from refilm.media.preprocessing import BASE_PREPROCESSING, Fit, HiddenState, ImagePreprocessing
from refilm.model import Adapter, Backbone
from refilm.settings import Settings
from refilm.weights.configs import read_object, validated
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import NAMES, DtypeName, Piece, TensorFiles, fill, is_finite, save_tensors, unfilled

FORMAT = 1
CARD, WEIGHTS, LORA, README = ADAPTER


class AdapterCard(Settings):
    """The content of `adapter.json`."""

    RENAMED: ClassVar = {"picture_fit": "image_fit"}

    model_config = ConfigDict(allow_inf_nan=True)  # a fact can be infinite; it is written as null

    format: PositiveInt
    """The version of this layout."""
    size: AdapterSize
    """The sizes that determine the shapes of the weights."""
    base_fingerprint: str | None
    """Fingerprint of the base model it was trained on. None: unknown; any base model of its size is accepted."""
    image_encoder: str | None
    """Hub id or folder of its image encoder. None: the image encoder of the base model."""
    image_fit: Fit = "pad"
    """How an image becomes a square for the image encoder. The default is for adapters that do not say it."""
    hidden_state: HiddenState = "last"
    """Hidden state of the image encoder that it uses as tokens. The default is for adapters that do not say it."""
    lora: LoraSettings | None = None
    """Settings of its LoRA. None: it has no LoRA."""
    dtype: DtypeName
    """Dtype of the weights in the file."""
    facts: dict[str, JsonValue]
    """Free-form facts about the training."""

    @property
    def preprocessing(self) -> ImagePreprocessing:
        """How it reads images."""
        return ImagePreprocessing.within(self)

    @property
    def base_name(self) -> str | None:
        """Name of the base model it was trained on, if recorded."""
        base = self.facts.get("base")
        name = base.get("source") if isinstance(base, dict) else None
        return name if isinstance(name, str) else None


@checked
def save_adapter(
    adapter: Adapter,
    folder: Path | str,
    *,
    base_fingerprint: str | None,
    facts: dict[str, Any],
    preprocessing: ImagePreprocessing = BASE_PREPROCESSING,
    dtype: torch.dtype | None = torch.float16,
) -> None:
    """Write an adapter atomically. An existing adapter in the folder is replaced; other files are kept.

    Args:
        base_fingerprint: `fingerprint` of the transformer it was trained on, if known.
        facts: facts about its training, as JSON values.
        preprocessing: how it reads images. Default: the last hidden state of the base model's image encoder.
        dtype: dtype of the weights in the file. None: unchanged.

    Raises:
        UserError: a weight is not finite, or out of the range of `dtype`; names it. An existing adapter is kept.
    """
    folder = Path(folder)
    weights = _stored(adapter.state_dict(), folder, dtype)
    lora = adapter.lora if isinstance(adapter, TunedAdapter) else None
    lora_weights = _stored(adapter.weights or {}, folder, dtype) if isinstance(adapter, TunedAdapter) else {}
    card = AdapterCard(
        format=FORMAT,
        size=adapter.size,
        base_fingerprint=base_fingerprint,
        **dict(preprocessing),
        lora=lora,
        dtype=NAMES[weights["projection.weight"].dtype],
        facts=facts,
    )
    with atomic_folder(folder, CARD, WEIGHTS, README, LORA) as temporary:
        _write_card(card, temporary)
        save_tensors(weights, temporary / WEIGHTS)
        if lora is not None:
            save_tensors(lora_weights, temporary / LORA)


@checked
def add_facts(folder: Path | str, facts: dict[str, Any]) -> None:
    """Add facts to an adapter's metadata, or replace those of the same names, and write its model card again.

    Raises:
        UserError: as `adapter_files`.
    """
    folder = Path(folder)
    adapter_files(folder)
    card = read_card(folder)
    _write_card(card.model_copy(update={"facts": card.facts | facts}), folder)


def _write_card(card: AdapterCard, folder: Path) -> None:
    write_text(folder / CARD, card.model_dump_json(indent=2) + "\n")  # NaN becomes null
    write_text(folder / README, model_card(card.model_dump(mode="json")))


def _stored(weights: Mapping[str, Tensor], folder: Path, dtype: torch.dtype | None) -> dict[str, Tensor]:
    stored = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in weights.items()}
    for name, weight in stored.items():
        if not is_finite(weight):
            raise UserError(f"{folder}: {name} contains NaN, infinity or values beyond {weight.dtype}; nothing saved")
    return stored


@checked
def load_adapter(
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    base_fingerprint: str | None = None,
    base_name: str | None = None,
) -> Adapter:
    """Load an adapter on the CPU.

    Args:
        folder: its folder, its Hub id, or `pocket`.
        dtype: dtype of the weights in memory. Default: as stored.
        base_fingerprint: fingerprint of the transformer it will be attached to. None: not checked.
        base_name: name of that base model in errors.

    Raises:
        UserError: a file is missing or damaged, a key or shape does not match `adapter.json`, or the adapter was
            trained on another base model; names the file and the key.
    """
    folder = adapter_folder(folder)
    card = read_card(folder)
    if None not in (base_fingerprint, card.base_fingerprint) and base_fingerprint != card.base_fingerprint:
        raise UserError(
            f"{folder}: trained on the base model {_named(card.base_name, card.base_fingerprint)}, does not fit the "
            f"base model {_named(base_name, base_fingerprint)}; load the base it was trained on"
        )
    files, lora = TensorFiles([folder / WEIGHTS]), None if card.lora is None else TensorFiles([folder / LORA])
    files.require_layers(card.size.layers)
    with unfilled():
        if card.lora is None or lora is None:
            adapter = Adapter(card.size)
        else:
            weights = {key: lora.read([Piece(key)], dtype=dtype, device="cpu") for key in lora}
            adapter = TunedAdapter(card.size, card.lora, weights=weights, name=lora.name)
    fill(adapter, files, {name: (Piece(name),) for name in adapter.state_dict()}, dtype=dtype)
    return adapter


def require_family(folder: Path | str, base: Backbone | Geometry, *, name: str | None = None) -> None:
    """Check that an adapter is for the family of a base model, which the weights need not be loaded for.

    Args:
        folder: its folder, its Hub id, or `pocket`.
        base: the transformer, or its size.
        name: name of the base model in errors.

    Raises:
        UserError: it is for another family; names both.
    """
    card = read_card(folder)
    if card.size.family != base.family:
        raise UserError(
            f"{folder}: an adapter for {_of_family(card.size.family, card.base_name)} does not fit "
            f"{_of_family(base.family, name)}; use the base model it was trained on"
        )


def _of_family(family: str, base: str | None) -> str:
    return family_name(family) if base is None else f"{family_name(family)} (base model {base})"


def _named(name: str | None, fingerprint: str | None) -> str:
    return f"{fingerprint}" if name is None else f"{name} ({fingerprint})"


def adapter_folder(source: Path | str) -> Path:
    """The local folder of an adapter: `pocket`, a Hub id, which is downloaded, or a local folder.

    Raises:
        UserError: the download from the Hub failed; says what to do.
    """
    if str(source) == "pocket":
        return POCKET / "adapter"
    return fetched(str(source), ADAPTER) if is_hub_id(source) else Path(source)


def adapter_files(folder: Path | str) -> list[Path]:
    """The validated files of an adapter's folder: those of the adapter only, not other files in the folder.

    Raises:
        UserError: as `load_adapter`, or a file is a symbolic link, which could point to any file.
    """
    folder = Path(folder)
    names = (README, CARD, WEIGHTS) if read_card(folder).lora is None else (README, CARD, WEIGHTS, LORA)
    files = [folder / name for name in names if name != README or os.path.lexists(folder / name)]
    for file in files:
        if file.is_symlink():
            raise UserError(f"{file}: is a link to {file.readlink()}; replace it with a copy of the file")
    load_adapter(folder)
    return files


@checked
def read_card(folder: Path | str) -> AdapterCard:
    """Read `adapter.json`, without the weights.

    Raises:
        UserError: it is missing, damaged, or was written by a newer refilm; names the file and the key.
    """
    folder = adapter_folder(folder)
    path = folder / CARD
    if not path.is_file():
        _refuse(folder)
    content = read_object(path)
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"{path}: format {version!r:.20} is newer than this refilm supports ({FORMAT}); update refilm")
    return validated(content, AdapterCard, path)


def _refuse(folder: Path) -> None:
    """Identify a folder or file that is not an adapter.

    Raises:
        UserError: it was identified; says how to convert it to an adapter, if possible.
    """
    refuse_foreign(folder)
    if (folder / "adapter" / CARD).is_file():
        raise UserError(f"{folder}: is the folder of a base model; its adapter is {folder / 'adapter'}")
    file = folder.is_file() and folder.suffix in (".safetensors", *SUFFIXES)
    if (folder.is_dir() or file) and native_format(folder) is not None:
        raise UserError(f"{folder}: is not an adapter's folder; convert it with: refilm convert {folder} FOLDER")
    if folder.is_file():
        raise UserError(f"{folder}: is not an adapter's folder, which contains {CARD} and {WEIGHTS}")
