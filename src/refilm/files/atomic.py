"""Atomic files and folders: written beside their target, flushed to the disk, then renamed once."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refilm.errors import UserError
from refilm.files.errors import naming
from refilm.files.temporary import temporary_folder


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; its file replaces `path` unless an error is raised. Missing folders are created.

    The file gets the permissions of the file it replaces, or the folder's default permissions.

    Raises:
        UserError: `path` is a folder, a device, or anything else that is not a regular file.
        OSError: the file cannot be written. The error names `path`, not the temporary file.
    """
    path = path.resolve()
    if path.is_dir():
        raise UserError(f"{path}: is a folder; choose a file name")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a regular file; choose another file name")
    with naming(path), temporary_folder(path) as place:
        temporary = place / path.name
        yield temporary
        _settle(temporary, (path if path.exists() else place).stat().st_mode)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def atomic_folder(folder: Path, *owned: str) -> Iterator[Path]:
    """Yield an empty temporary folder; it replaces `folder` unless an error is raised.

    Everything is flushed to the disk before the rename. The files are readable by everyone who can read the folder.

    Args:
        folder: the target. Missing parents are created.
        owned: glob patterns of the files that belong to an existing `folder` of the same kind. They are removed; all
            other files are kept.

    Raises:
        UserError: `folder` is a file, or cannot be replaced (for example a mount point). In the latter case the new
            files are kept in a folder beside it.
        OSError: the folder cannot be written. The error names `folder`, not the temporary one.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; choose a folder")
    with naming(folder), temporary_folder(folder) as place:
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
    """Write a file atomically.

    Raises:
        OSError: the file cannot be written. The error names it.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(path: Path, mode: int) -> None:
    """Flush a file or folder to the disk, with the permissions of `mode`."""
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
        raise UserError(f"{folder}: cannot be replaced: {error.strerror}; the new files are in {kept}") from error
