"""The table of model families. A family's code is imported when it is first needed."""

from importlib import import_module
from pathlib import Path
from typing import cast

from refilm.backbones.family import Family, NativeFormat
from refilm.errors import UserError
from refilm.geometry import Geometry
from refilm.model import Backbone
from refilm.weights.configs import KindConfig, read_config
from refilm.weights.pickles import SUFFIXES
from refilm.weights.tensors import TensorFiles

NAMES = ("cogvideox", "wan")
"""Folders in `refilm.backbones`; the first is assumed where a config names no class."""


def family(name: str) -> Family:
    """A family by its name in `NAMES`.

    Raises:
        UserError: there is no such family; names those that there are.
    """
    if name not in NAMES:
        raise UserError(f"unknown model family {name!r:.60}: this refilm has {', '.join(NAMES)}; update refilm")
    return cast(Family, import_module(f"refilm.backbones.{name}.family"))


def family_name(name: str) -> str:
    """A family as users know it; that of an unknown family, such as one of a newer refilm, as it is given."""
    return family(name).NAME if name in NAMES else name


def families() -> tuple[Family, ...]:
    """All families."""
    return tuple(map(family, NAMES))


def family_of(model: Backbone | Geometry) -> Family:
    """The family of a transformer, or of its size."""
    return family(model.family)


def family_in(folder: Path) -> Family:
    """The family of a transformer in diffusers' layout.

    Args:
        folder: the transformer's folder, with `config.json`.

    Raises:
        UserError: the file is missing or damaged, or its class belongs to no family; names the file and the class.
    """
    path = folder / "config.json"
    kind = read_config(path, KindConfig).class_name
    for known in families():
        if kind in (None, known.TRANSFORMER):
            return known
    supported = ", ".join(known.TRANSFORMER for known in families())
    raise UserError(f"{path}: is the config of a {kind!r:.60}; refilm supports {supported}")


def native_formats() -> tuple[NativeFormat, ...]:
    """The families' own formats of checkpoints."""
    return tuple(known.native for known in families() if known.native is not None)


def native_format(path: Path) -> NativeFormat | None:
    """The family's own format that a folder or file has; None: it has none of these.

    Raises:
        UserError: the file is damaged, or is no weights file; names it.
    """
    if path.is_dir():
        return next((native for native in native_formats() if native.is_checkpoint(path)), None)
    if path.suffix not in (".safetensors", *SUFFIXES):
        raise UserError(f"{path}: use a folder or a weights file (.safetensors, {', '.join(SUFFIXES)})")
    files = TensorFiles([path])
    return next((native for native in native_formats() if native.has_keys(files)), None)
