"""Warm start: initialize a run from the transformer or the adapter of an earlier run (`init_from`).

The adapter.json or the configuration is compared with the recipe before weights are read or clips encoded.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from refilm.checkpoints import LoraSettings, load_adapter, open_source, read_card, require_family
from refilm.errors import UserError
from refilm.geometry import AdapterSize, Geometry
from refilm.media.preprocessing import ImagePreprocessing
from refilm.model import Adapter, Backbone


def require_transformer(base: str, size: Geometry) -> None:
    """Check that a base model's transformer has the recipe's size.

    Raises:
        UserError: there is none, or its size differs; the message names the first setting that differs.
    """
    _require_same(base, asdict(open_source(base).size), asdict(size), table="size.")


def initial_transformer(base: str) -> Backbone:
    """Load a base model's transformer as a starting point, in float32 on the CPU.

    Raises:
        UserError: it is missing or damaged.
    """
    return open_source(base).transformer(torch.float32, torch.device("cpu"))


def require_adapter(
    folder: Path, size: Geometry, *, query_norm: bool, preprocessing: ImagePreprocessing, lora: LoraSettings | None
) -> None:
    """Check that an adapter fits a transformer's size and the recipe's adapter settings.

    It may have been trained on another base model of that size.

    Raises:
        UserError: there is none, or it differs; the message names the first setting that differs.
    """
    try:
        require_family(folder, size)
    except UserError as error:
        raise UserError(f"init_from: {error}") from error
    card = read_card(folder)
    fitting = AdapterSize.of(size, reference_dim=card.size.reference_dim, query_norm=query_norm)
    found = {"train.lora": _plain(card.lora)} | _tokens(card.preprocessing)
    wanted = {"train.lora": _plain(lora)} | _tokens(preprocessing)
    _require_same(str(folder), asdict(card.size) | found, asdict(fitting) | wanted)


def initial_adapter(folder: Path, size: AdapterSize) -> Adapter:
    """Load an adapter as a starting point, in float32 on the CPU.

    Raises:
        UserError: it is missing, damaged or of another size.
    """
    adapter = load_adapter(folder, dtype=torch.float32)
    _require_same(str(folder), asdict(adapter.size), asdict(size))
    return adapter


def _tokens(preprocessing: ImagePreprocessing) -> dict[str, str]:
    """What decides which tokens an image has, but for the encoder, which can be named in several ways."""
    return {"hidden_state": preprocessing.hidden_state, "image_fit": preprocessing.image_fit}


def _plain(lora: LoraSettings | None) -> dict[str, Any] | None:
    return None if lora is None else lora.model_dump(mode="json")


def _require_same(place: str, found: Mapping[str, Any], wanted: Mapping[str, Any], *, table: str = "") -> None:
    for name, value in found.items():
        if value != wanted[name]:
            raise UserError(
                f"init_from: {place} has {table}{name} = {value!r}, this recipe {wanted[name]!r}; change the recipe, "
                "or remove init_from"
            )
