"""Identification of adapters of other kinds, for errors that name them."""

from collections.abc import Iterable
from pathlib import Path

from refilm.errors import UserError
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import TensorFiles

_LORA = (".lora_A", ".lora_B", ".lora_down", ".lora_up", ".lora.down", ".lora.up", ".hada_", ".lokr_")
_KOHYA = ("lora_unet", "lora_te", "lora_transformer", "lycoris")
_SUPPORTED = "refilm supports reference adapters, folders with adapter.json and adapter.safetensors"


def foreign_kind(path: Path) -> str | None:
    """The kind of adapter that a file or folder contains if it is not for refilm. None: unknown or damaged.

    The weights are not read.
    """
    if path.is_dir() and (path / "adapter_config.json").is_file():
        return "a LoRA of peft"
    suffixes = (".safetensors", *SUFFIXES)
    paths = [path] if path.is_file() else sorted(path.glob("*"))[:100] if path.is_dir() else []
    for file in paths:
        if file.suffix in suffixes and file.is_file() and (kind := _kind(_keys(file))):
            return kind
    return None


def refuse_foreign(path: Path) -> None:
    """Reject an adapter of another kind.

    Raises:
        UserError: it is one; names the kind and what refilm supports.
    """
    kind = foreign_kind(path)
    if kind is not None:
        raise UserError(f"{path}: is {kind}, which refilm cannot use; {_SUPPORTED}")


def _keys(file: Path) -> list[str]:
    try:
        return list(TensorFiles([file]))
    except UserError:  # the error is raised when its weights are loaded
        return []


def _kind(keys: Iterable[str]) -> str | None:
    keys = list(keys)
    if any(mark in key for key in keys for mark in _LORA):
        if any(key.startswith(_KOHYA) for key in keys):
            return "a LoRA of kohya's scripts"
        return "a LoRA of peft" if any(key.startswith("base_model.model.") for key in keys) else "a LoRA of diffusers"
    return "an IP-Adapter" if any(key.startswith(("ip_adapter.", "image_proj.")) for key in keys) else None
