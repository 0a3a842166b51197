"""JSON read with one clear error; folders and files written whole or not at all. Knows nothing of models."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: the file is missing or is not a JSON object; names it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError) as error:  # json's and unicode's errors are ValueErrors
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold a JSON object (received {type(content).__name__})")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as readable JSON. NaN and infinity, which are not JSON, are a ValueError."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


@contextmanager
def replaced(folder: Path, *owned: str) -> Iterator[Path]:
    """A temporary folder beside `folder`; what was written there takes its place unless an error came first.

    Before that everything has reached the disk. Whoever may read a new folder may read its files. Files of an older
    `folder` that match one of the patterns `owned` go; all others stay.

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
        for path in temporary.rglob("*"):
            if path.is_file():  # safetensors writes for the owner alone
                path.chmod(temporary.stat().st_mode & 0o666)
            _sync(path)
        _sync(temporary)
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


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there takes its place unless an error came first.

    Raises:
        ValueError: `path` is a folder.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
