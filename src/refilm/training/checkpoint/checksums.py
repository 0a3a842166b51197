"""Checksums of a checkpoint: `manifest.json`, written last, lists every file with its size and sha256.

Independent of the files' contents.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import Field, ValidationError

from refilm.errors import UserError
from refilm.settings import Settings, explain

MANIFEST = "manifest.json"


class Digest(Settings):
    """Size and hash of a file."""

    size: int = Field(ge=0)
    """In bytes."""
    sha256: str
    """In hexadecimal."""


class Manifest(Settings):
    """The files of a checkpoint."""

    step: int = Field(ge=0)
    """Number of finished optimizer steps."""
    processes: int = Field(ge=1)
    """Number of processes that wrote it."""
    files: dict[str, Digest]
    """Digests by path within the folder."""


class Hashed:
    """A file that is being written, with the digest of the written bytes and the first write error.

    `torch.save` replaces an error of its file by another one.
    """

    def __init__(self, file: BinaryIO):
        self.file, self.size, self.hash = file, 0, hashlib.sha256()
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Write, and update size and hash."""
        try:
            self.file.write(data)
        except BaseException as error:
            self.error = self.error or error
            raise
        self.hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: the file is flushed at the end."""

    @property
    def digest(self) -> Digest:
        """Digest of all written bytes."""
        return Digest(size=self.size, sha256=self.hash.hexdigest())


def digest(path: Path) -> Digest:
    """Read a file and compute its digest."""
    with open(path, "rb") as file:
        return Digest(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=os.fstat(file.fileno()).st_size)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and sync it to disk."""
    path = folder / MANIFEST
    with named(path), open(path, "x") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a checkpoint.

    Raises:
        UserError: there is no manifest, or it cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder}: is damaged, it has no {MANIFEST}")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path}: is damaged, {explain(error)[:200]}") from error


def verify(folder: Path, files: Iterable[tuple[str, Digest]]) -> None:
    """Compare files with their digests.

    Raises:
        UserError: a file is missing, cannot be read, or differs.
    """
    for name, expected in files:
        path = folder / name
        try:
            found = digest(path)
        except OSError as error:
            raise UserError(f"{path}: is damaged, {error.strerror}") from error
        if found.size != expected.size:
            raise UserError(f"{path}: is damaged, {found.size} bytes instead of {expected.size}")
        if found != expected:
            raise UserError(f"{path}: is damaged, sha256 {found.sha256[:12]}... instead of {expected.sha256[:12]}...")


def sync(folder: Path) -> None:
    """Sync a folder, so that its file names are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with named(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Within the context OSErrors get the file's name, which errors of writing and syncing lack."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
