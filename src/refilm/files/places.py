"""Checks of target folders, hashes of files, and links to files."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

from refilm.errors import UserError
from refilm.files.errors import REASONS

LEAST = 1 << 20  # bytes; a disk with less free space counts as full


def require_empty(folder: Path) -> None:
    """Check that a new folder can be created at a path.

    Raises:
        UserError: `folder` is a file, or is not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; choose a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: is not empty; choose an empty or new folder")


def require_writable(folder: Path) -> None:
    """Check that an existing or new folder can be written to. Nothing is written by this check.

    Raises:
        UserError: a file is in the way, permission is missing, or the disk is read-only or full. The error names the
            path.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise UserError(
            f"{folder}: {'is a file' if place == folder.absolute() else f'{place} is a file'}; choose a folder"
        )
    system = os.statvfs(place) if hasattr(os, "statvfs") else None  # not available on Windows
    if system is not None and system.f_flag & os.ST_RDONLY:
        raise UserError(f"{folder}: {REASONS[errno.EROFS]}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: {place}: {REASONS[errno.EACCES]}")
    if shutil.disk_usage(place).free < LEAST:
        raise UserError(f"{folder}: {REASONS[errno.ENOSPC]}")


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: the file cannot be read. The error names it.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Create a hard link to a file, or a copy where the file system does not support the link."""
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
