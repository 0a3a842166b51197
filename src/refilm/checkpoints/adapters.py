"""An adapter as a folder: `adapter.safetensors`, our weights by our names, and `adapter.json`, what they are.

Knows nothing of training: what is worth telling about it comes as free facts.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue, PositiveInt, ValidationError
from safetensors.torch import save_file

from refilm.checkpoints.files import TensorFiles, read_json, replaced
from refilm.model import Adapter
from refilm.settings import Settings, explain
from refilm.sizes import AdapterSize

FORMAT = 1
_CARD, _WEIGHTS = "adapter.json", "adapter.safetensors"


class AdapterFields(Settings):
    """The sizes of an adapter, as `AdapterSize` has them."""

    layers: PositiveInt
    heads: PositiveInt
    head_dim: PositiveInt
    reference_dim: PositiveInt
    query_norm: bool


class AdapterCard(Settings):
    """What `adapter.json` tells."""

    format: int
    """The version of this layout."""
    size: AdapterFields
    """What decides the weights' shapes."""
    base_fingerprint: str
    """Of the transformer that it was trained on."""
    image_encoder: str | None
    """Whose tokens it reads; none: it was not told."""
    dtype: str
    """Of the weights in the file."""
    facts: dict[str, JsonValue]
    """Whatever the training wants to tell."""


def save_adapter(
    adapter: Adapter,
    folder: Path | str,
    *,
    base_fingerprint: str,
    facts: dict[str, Any],
    image_encoder: str | None = None,
    dtype: torch.dtype | None = torch.float16,
) -> None:
    """Write an adapter; the folder appears whole or not at all. An older adapter there is replaced, other files stay.

    Args:
        base_fingerprint: `fingerprint` of the transformer that it was trained on.
        facts: about its training, anything that JSON can hold.
        image_encoder: name of the encoder whose tokens it reads.
        dtype: of the weights in the file; none: as they are.

    Raises:
        ValueError: a weight is not finite, or not within `dtype`; names it. An older adapter stays.
    """
    folder = Path(folder)
    weights = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in adapter.state_dict().items()}
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise ValueError(f"{folder}: {name} holds NaN, infinity or numbers beyond {weight.dtype}; nothing is saved")
    card = AdapterCard(
        format=FORMAT,
        size=AdapterFields(**asdict(adapter.size)),
        base_fingerprint=base_fingerprint,
        image_encoder=image_encoder,
        dtype=str(weights["projection.weight"].dtype).removeprefix("torch."),
        facts=facts,
    )
    with replaced(folder, _CARD, _WEIGHTS) as temporary:
        (temporary / _CARD).write_text(card.model_dump_json(indent=2) + "\n")  # NaN becomes null
        save_file(weights, temporary / _WEIGHTS, metadata={"format": "pt"})


def load_adapter(
    folder: Path | str, *, dtype: torch.dtype | None = None, base_fingerprint: str | None = None
) -> Adapter:
    """Read an adapter, on the CPU.

    Args:
        dtype: of the weights in memory; none: as they are stored.
        base_fingerprint: of the transformer it shall be attached to; none: whoever attaches it knows.

    Raises:
        ValueError: a file is missing or damaged, a key or shape is not what the card tells, or the adapter was trained
            on another base; names the file and the key.
    """
    folder = Path(folder)
    card = read_card(folder)
    if base_fingerprint is not None and base_fingerprint != card.base_fingerprint:
        raise ValueError(
            f"{folder}: trained on the base model {card.base_fingerprint}, does not fit the base model "
            f"{base_fingerprint}; load the base it was trained on"
        )
    with torch.device("meta"):
        adapter = Adapter(AdapterSize(**card.size.model_dump()))
    files = TensorFiles([folder / _WEIGHTS])
    files.check({name: tuple(weight.shape) for name, weight in adapter.state_dict().items()})
    adapter.load_state_dict({name: files.finite(name).to(dtype) for name in adapter.state_dict()}, assign=True)
    return adapter


def read_card(folder: Path | str) -> AdapterCard:
    """What `adapter.json` tells, without the weights.

    Raises:
        ValueError: it is missing, damaged, or written by a newer refilm; names the file and the key.
    """
    path = Path(folder) / _CARD
    content = read_json(path)
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise ValueError(f"{path}: format {version} is newer than this refilm reads ({FORMAT}); update refilm")
    try:
        return AdapterCard.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error
