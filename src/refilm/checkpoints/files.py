"""Weight files and the folders they live in: read with one clear error, written whole or not at all.

Knows JSON, safetensors and paths; nothing of models.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: the file is missing or is not a JSON object; names it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:  # json's and unicode's errors are ValueErrors
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold a JSON object (received {type(content).__name__})")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as readable JSON. NaN and infinity, which are not JSON, are a ValueError."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


class TensorFiles:
    """Tensors by key, in one or several safetensors files; read one at a time, so that memory holds a model once."""

    def __init__(self, paths: list[Path]):
        """Open the files.

        Raises:
            ValueError: one is missing, cut off or no safetensors file; names it.
        """
        self.name = str(paths[0] if len(paths) == 1 else paths[0].parent)
        self._where = {}
        for path in paths:
            if not path.is_file():
                raise ValueError(f"{path}: no such file")
            try:
                file = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise ValueError(f"{path}: cut off or not a safetensors file: {error}") from error
            self._where |= dict.fromkeys(file.keys(), (path, file))

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Compare keys and shapes with those that are wanted, before anything is read.

        Raises:
            ValueError: a missing key, a surplus one or another shape; names the file and the key.
        """
        for what, keys in (("missing", shapes.keys() - self._where), ("surplus", self._where.keys() - shapes.keys())):
            if keys:
                more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
                raise ValueError(f"{self.name}: {what} key {min(keys)}{more}")
        for key, wanted in shapes.items():
            path, file = self._where[key]
            found = tuple(file.get_slice(key).get_shape())
            if found != tuple(wanted):
                raise ValueError(f"{path}: {key} has shape {found}, not {tuple(wanted)}")

    def drop(self, key: str) -> None:
        """Act as if there were no such key."""
        self._where.pop(key, None)

    def tensor(self, key: str) -> Tensor:
        """Read one."""
        return self._where[key][1].get_tensor(key)

    def finite(self, key: str) -> Tensor:
        """Read one that must be numbers.

        Raises:
            ValueError: NaN or infinity among its values; names the file and the key.
        """
        tensor = self.tensor(key)
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{self._where[key][0]}: {key} holds NaN or infinity")
        return tensor


@contextmanager
def replaced(folder: Path, *owned: str) -> Iterator[Path]:
    """A temporary folder beside `folder`; what was written there takes its place unless an error came first.

    Before that everything has reached the disk. Files of an older `folder` that match one of the patterns `owned` go;
    all others stay.

    Raises:
        ValueError: `folder` is a file, or cannot be replaced; what was written then stays in the temporary folder.
    """
    folder = folder.resolve()
    if folder.is_file():
        raise ValueError(f"{folder}: is a file; give a folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    suffix = secrets.token_hex(4)
    temporary, old = (folder.with_name(f".{folder.name}-{suffix}.{state}") for state in ("new", "old"))
    temporary.mkdir()
    try:
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
    except BaseException:
        shutil.rmtree(temporary)
        raise
    try:
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    except OSError as error:  # a mount point, for instance
        if old.exists():
            old.rename(folder)
        raise ValueError(f"{folder}: cannot be replaced: {error}; the new files are in {temporary}") from error
    if old.exists():
        for path in old.iterdir():
            if not any(path.match(pattern) for pattern in owned):
                path.rename(folder / path.name)
        shutil.rmtree(old)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
