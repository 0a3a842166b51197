"""The seal of a checkpoint: `manifest.json`, written last, names every file with its size and sha256.

Knows bytes; nothing of what they mean.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import Field, ValidationError

from refilm.settings import Settings, explain

MANIFEST = "manifest.json"


class Digest(Settings):
    """What a file's bytes must be."""

    size: int = Field(ge=0)
    """Bytes."""
    sha256: str
    """In hexadecimal."""


class Manifest(Settings):
    """What a checkpoint consists of."""

    step: int = Field(ge=0)
    """Optimizer steps done."""
    processes: int = Field(ge=1)
    """How many processes wrote it."""
    files: dict[str, Digest]
    """By path within the folder."""


class Hashed:
    """A file that is being written: what went into it, and the error that kept it from being written.

    `torch.save` reports an error of its file as another one.
    """

    def __init__(self, file: BinaryIO):
        self.file, self.size, self.hash = file, 0, hashlib.sha256()
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Write, and count what was written."""
        try:
            self.file.write(data)
        except BaseException as error:
            self.error = self.error or error
            raise
        self.hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Leave that to the file's own end."""

    @property
    def digest(self) -> Digest:
        """Of all that was written."""
        return Digest(size=self.size, sha256=self.hash.hexdigest())


def digest(path: Path) -> Digest:
    """What a file's bytes are, read from it."""
    with open(path, "rb") as file:
        return Digest(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=os.fstat(file.fileno()).st_size)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the seal, to the disk."""
    path = folder / MANIFEST
    with named(path), open(path, "x") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Manifest:
    """What the checkpoint must consist of.

    Raises:
        ValueError: there is no manifest, or it cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{folder}: is damaged, it has no {MANIFEST}")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path}: is damaged, {explain(error)[:200]}") from error


def verify(folder: Path, files: Iterable[tuple[str, Digest]]) -> None:
    """Compare files with what they must be.

    Raises:
        ValueError: a file is missing, cannot be read, or its bytes are others.
    """
    for name, expected in files:
        path = folder / name
        try:
            found = digest(path)
        except OSError as error:
            raise ValueError(f"{path}: is damaged, {error.strerror}") from error
        if found.size != expected.size:
            raise ValueError(f"{path}: is damaged, {found.size} bytes instead of {expected.size}")
        if found != expected:
            raise ValueError(f"{path}: is damaged, sha256 {found.sha256[:12]}... instead of {expected.sha256[:12]}...")


def sync(folder: Path) -> None:
    """Wait until the names in a folder have reached the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with named(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Errors of the system within the context name the file, which those of writing and syncing do not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
