"""Places that can be written to, and files that are there already: their hashes and second places."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

from refilm.files.errors import REASONS

LEAST = 1 << 20  # bytes; a disk with less is full


def require_empty(folder: Path) -> None:
    """Refuse a place for a new folder that is taken.

    Raises:
        ValueError: `folder` is a file, or contains something.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: is not empty; choose an empty or new folder")


def require_writable(folder: Path) -> None:
    """Refuse a folder, one that is there or one to be made, that nothing can be written to. Writes nothing itself.

    Raises:
        ValueError: a file is in its way, permission is missing, or the disk is read-only or full; names the place.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise ValueError(
            f"{folder}: {'is a file' if place == folder.absolute() else f'{place} is a file'}; give a folder"
        )
    system = os.statvfs(place) if hasattr(os, "statvfs") else None  # Windows has none
    if system is not None and system.f_flag & os.ST_RDONLY:
        raise ValueError(f"{folder}: {REASONS[errno.EROFS]}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: {place}: {REASONS[errno.EACCES]}")
    if shutil.disk_usage(place).free < LEAST:
        raise ValueError(f"{folder}: {REASONS[errno.ENOSPC]}")


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: it cannot be read; names it.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file in a second place: as a hard link, or as a copy where the disk has no links between the two."""
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
