"""An adapter as a folder: `adapter.safetensors`, our weights by our names; `adapter.json`, what they are; `README.md`.

The last is a model card for people, made from the second. An adapter that also changes the transformer's layers has
`lora.safetensors` beside. Knows nothing of training: what is worth telling about it comes as free facts.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, JsonValue, PositiveInt
from torch import Tensor

from refilm.arguments import checked
from refilm.checkpoints.foreign import refuse_foreign
from refilm.checkpoints.lora import LoraSettings, TunedAdapter
from refilm.checkpoints.model_card import model_card
from refilm.checkpoints.sat import has_sat_keys, is_sat
from refilm.checkpoints.sources import ADAPTER, POCKET
from refilm.encoders import Fit, HiddenState
from refilm.files import atomic_folder, write_text
from refilm.hub import fetched, is_hub_id
from refilm.model import Adapter
from refilm.settings import Settings
from refilm.sizes import AdapterSize
from refilm.weights.configs import read_object, validated
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import NAMES, DtypeName, Piece, TensorFiles, fill, is_finite, save_tensors

FORMAT = 1
CARD, WEIGHTS, LORA, README = ADAPTER


class AdapterCard(Settings):
    """What `adapter.json` tells."""

    RENAMED: ClassVar = {"picture_fit": "image_fit"}

    model_config = ConfigDict(allow_inf_nan=True)  # a fact may be infinite, and is null in the file

    format: PositiveInt
    """The version of this layout."""
    size: AdapterSize
    """What decides the weights' shapes."""
    base_fingerprint: str | None
    """Of the transformer that it was trained on; none: nobody knows, and any of its size is taken."""
    image_encoder: str | None
    """Whose tokens it reads, a Hub id or a folder; none: the one that comes with the base model."""
    image_fit: Fit = "pad"
    """How an image becomes a square for the image encoder."""
    hidden_state: HiddenState = "last"
    """Which of the image encoder's states it reads."""
    lora: LoraSettings | None = None
    """The low-rank changes of the transformer that come with it; none: it changes no layer."""
    dtype: DtypeName
    """Of the weights in the file."""
    facts: dict[str, JsonValue]
    """Whatever the training wants to tell."""

    @property
    def base_name(self) -> str | None:
        """What the base model was called that it was trained on, where that is told."""
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
    image_encoder: str | None = None,
    image_fit: Fit = "pad",
    hidden_state: HiddenState = "last",
    dtype: torch.dtype | None = torch.float16,
) -> None:
    """Write an adapter; the folder appears whole or not at all. An older adapter there is replaced, other files stay.

    Args:
        base_fingerprint: `fingerprint` of the transformer that it was trained on, where it is known.
        facts: about its training, anything that JSON can hold.
        image_encoder: Hub id or folder of the encoder whose tokens it reads; none: the base model's own.
        image_fit: how an image becomes a square for it, see `ImageEncoder`.
        hidden_state: which of its states the adapter reads.
        dtype: of the weights in the file; none: as they are.

    Raises:
        ValueError: a weight is not finite, or not within `dtype`; names it. An older adapter stays.
    """
    folder = Path(folder)
    weights = _stored(adapter.state_dict(), folder, dtype)
    lora = adapter.lora if isinstance(adapter, TunedAdapter) else None
    changes = _stored(adapter.weights or {}, folder, dtype) if isinstance(adapter, TunedAdapter) else {}
    card = AdapterCard(
        format=FORMAT,
        size=adapter.size,
        base_fingerprint=base_fingerprint,
        image_encoder=image_encoder,
        image_fit=image_fit,
        hidden_state=hidden_state,
        lora=lora,
        dtype=NAMES[weights["projection.weight"].dtype],
        facts=facts,
    )
    with atomic_folder(folder, CARD, WEIGHTS, README, LORA) as temporary:
        write_text(temporary / CARD, card.model_dump_json(indent=2) + "\n")  # NaN becomes null
        write_text(temporary / README, model_card(card.model_dump(mode="json")))
        save_tensors(weights, temporary / WEIGHTS)
        if lora is not None:
            save_tensors(changes, temporary / LORA)


def _stored(weights: Mapping[str, Tensor], folder: Path, dtype: torch.dtype | None) -> dict[str, Tensor]:
    stored = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in weights.items()}
    for name, weight in stored.items():
        if not is_finite(weight):
            raise ValueError(f"{folder}: {name} holds NaN, infinity or numbers beyond {weight.dtype}; nothing is saved")
    return stored


@checked
def load_adapter(
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    base_fingerprint: str | None = None,
    base_name: str | None = None,
) -> Adapter:
    """Read an adapter, on the CPU.

    Args:
        folder: its folder, its Hub id, or `pocket`.
        dtype: of the weights in memory; none: as they are stored.
        base_fingerprint: of the transformer it shall be attached to; none: whoever attaches it knows.
        base_name: what errors call the base model of that transformer.

    Raises:
        ValueError: a file is missing or damaged, a key or shape is not what the card tells, or the adapter was trained
            on another base; names the file and the key.
    """
    folder = adapter_folder(folder)
    card = read_card(folder)
    if None not in (base_fingerprint, card.base_fingerprint) and base_fingerprint != card.base_fingerprint:
        raise ValueError(
            f"{folder}: trained on the base model {_named(card.base_name, card.base_fingerprint)}, does not fit the "
            f"base model {_named(base_name, base_fingerprint)}; load the base it was trained on"
        )
    files, low_rank = TensorFiles([folder / WEIGHTS]), None if card.lora is None else TensorFiles([folder / LORA])
    files.require_layers(card.size.layers)
    with torch.device("meta"):
        if card.lora is None or low_rank is None:
            adapter = Adapter(card.size)
        else:
            changes = {key: low_rank.read([Piece(key)], dtype=dtype, device="cpu") for key in low_rank}
            adapter = TunedAdapter(card.size, card.lora, weights=changes, name=low_rank.name)
    fill(adapter, files, {name: (Piece(name),) for name in adapter.state_dict()}, dtype=dtype)
    return adapter


def _named(name: str | None, fingerprint: str | None) -> str:
    return f"{fingerprint}" if name is None else f"{name} ({fingerprint})"


def adapter_folder(source: Path | str) -> Path:
    """The folder of an adapter: `pocket`'s own, one on the Hub, which is fetched, or one that is here.

    Raises:
        ValueError: it is on the Hub and cannot be fetched; says what to do.
    """
    if str(source) == "pocket":
        return POCKET / "adapter"
    return fetched(str(source), ADAPTER) if is_hub_id(source) else Path(source)


def adapter_files(folder: Path | str) -> list[Path]:
    """The files of an adapter's folder, all of it looked at: what its card names, and nothing else that lies there.

    Raises:
        ValueError: as `load_adapter`, or one is a link, which may lead to anything.
    """
    folder = Path(folder)
    names = (README, CARD, WEIGHTS) if read_card(folder).lora is None else (README, CARD, WEIGHTS, LORA)
    files = [folder / name for name in names if name != README or os.path.lexists(folder / name)]
    for file in files:
        if file.is_symlink():
            raise ValueError(f"{file}: is a link to {file.readlink()}; put a copy of the file there")
    load_adapter(folder)
    return files


@checked
def read_card(folder: Path | str) -> AdapterCard:
    """What `adapter.json` tells, without the weights.

    Raises:
        ValueError: it is missing, damaged, or written by a newer refilm; names the file and the key.
    """
    folder = adapter_folder(folder)
    path = folder / CARD
    if not path.is_file():
        _refuse(folder)
    content = read_object(path)
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise ValueError(f"{path}: format {version!r:.20} is newer than this refilm reads ({FORMAT}); update refilm")
    return validated(content, AdapterCard, path)


def _refuse(folder: Path) -> None:
    """Say what it is that is no adapter's folder, if that can be known.

    Raises:
        ValueError: it is something else; says how an adapter is made of it, if one can be.
    """
    refuse_foreign(folder)
    if (folder / "adapter" / CARD).is_file():
        raise ValueError(f"{folder}: a base model's folder; its adapter is {folder / 'adapter'}")
    file = folder.is_file() and folder.suffix in (".safetensors", *SUFFIXES)
    if is_sat(folder) if folder.is_dir() else file and has_sat_keys(TensorFiles([folder])):
        raise ValueError(f"{folder}: not an adapter's folder; make one of it with: refilm convert {folder} FOLDER")
    if folder.is_file():
        raise ValueError(f"{folder}: not an adapter's folder, which has {CARD} and {WEIGHTS} in it")
