"""Files and folders that appear whole or not at all: written beside their place, brought to the disk, renamed once."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refilm.files.errors import naming
from refilm.files.workplaces import workplace


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write to; the file takes the place of `path` unless an error comes first. Missing folders are made.

    It has the permissions of the file it replaces, or those that the folder gives to new files.

    Raises:
        ValueError: `path` is a folder, a device, or anything else that is not a file.
        OSError: it cannot be written; names `path`, not the temporary file.
    """
    path = path.resolve()
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is not a regular file; give the name of a file")
    with naming(path), workplace(path) as place:
        temporary = place / path.name
        yield temporary
        _settle(temporary, (path if path.exists() else place).stat().st_mode)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def atomic_folder(folder: Path, *owned: str) -> Iterator[Path]:
    """An empty folder to write to; it takes the place of `folder` unless an error comes first.

    Before that everything has reached the disk. Whoever may read the folder may read its files.

    Args:
        folder: where it will be. Missing parents are made.
        owned: patterns of the files that an older `folder` of the same kind has; these are removed, all others stay.

    Raises:
        ValueError: `folder` is a file, or cannot be replaced (a mount point, for instance); then what was written
            stays in a folder beside it.
        OSError: it cannot be written; names `folder`, not the temporary one.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; give a folder")
    with naming(folder), workplace(folder) as place:
        new, old = place / "new", place / "old"
        new.mkdir()
        if folder.exists():
            new.chmod(folder.stat().st_mode)
        yield new
        for path in (*new.rglob("*"), new):
            _settle(path, new.stat().st_mode)
        _exchange(folder, new, old)
        for path in old.iterdir() if old.exists() else ():
            if not any(path.match(pattern) for pattern in owned):
                path.rename(folder / path.name)
        sync(folder.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: it cannot be written; names it.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, have reached the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(path: Path, mode: int) -> None:
    """Bring a file or folder to the disk, readable by whoever `mode` lets read."""
    if path.is_file() and path.stat().st_nlink == 1:  # a hard link shares its permissions with its source
        path.chmod(mode & 0o666)
    sync(path)


def _exchange(folder: Path, new: Path, old: Path) -> None:
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        if old.exists():
            old.rename(folder)
        kept = folder.with_name(f"{folder.name}-{secrets.token_hex(4)}")
        new.rename(kept)
        raise ValueError(f"{folder}: cannot be replaced: {error.strerror}; the new files are in {kept}") from error
