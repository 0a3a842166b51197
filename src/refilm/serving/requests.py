"""What a job's request must look like before it is stored: a row of a list whose files are all stored with it."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from refilm.errors import UserError
from refilm.files import atomic_folder, link_or_copy, sha256_of
from refilm.jobs.row import Row, unknown
from refilm.serving.errors import NotFoundError
from refilm.serving.job import to_json

EXPLAIN = "explain"  # in a request: whether heat maps are written beside the video
File = bytes | Path
"""The content of an input file, or a file that it is copied from."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def require_valid(request: Mapping[str, Any], files: Mapping[str, File]) -> None:
    """Check a request without its model.

    Raises:
        UserError: a setting is unknown or invalid, or names a file that is not among `files`.
    """
    values = row_of(request)
    for message in unknown(values):
        raise UserError(message)
    row = Row.from_values(values)
    if row.output is not None and row.output.lower().endswith(".png"):
        raise UserError("output: one image per frame is not served; use .mp4, .webm, .gif or .webp")
    for name in files:
        require_file_name(name)
    for name in _files_of(row):
        if name not in files:
            raise UserError(f"{name}: no such file was uploaded with the request")


def row_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a list in a request: without what only the server knows.

    Raises:
        UserError: explain is not true or false.
    """
    if not isinstance(request.get(EXPLAIN, False), bool):
        raise UserError("explain: must be true or false")
    return {name: value for name, value in request.items() if name != EXPLAIN}


def require_file_name(name: str) -> None:
    """Check that a name stays within its folder on every file system.

    Raises:
        UserError: it does not.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{name!a}: a file name must have at most 100 letters, digits, dots, hyphens or underscores")


def digest_of(request: Mapping[str, Any], files: Mapping[str, File]) -> str:
    """Identifies a request with the content of its files."""
    contents = {name: _sha256(content) for name, content in files.items()}
    return hashlib.sha256(to_json([dict(request), contents]).encode()).hexdigest()


def write_files(files: Mapping[str, File], folder: Path) -> None:
    """Write input files to a new folder, all or none.

    Raises:
        NotFoundError: a file that is copied does not exist any more.
        OSError: they cannot be written.
    """
    with atomic_folder(folder) as new:
        for name, content in files.items():
            if isinstance(content, bytes):
                (new / name).write_bytes(content)
                continue
            try:
                link_or_copy(content, new / name)
            except FileNotFoundError as error:
                raise NotFoundError(f"{content.name}: was deleted; upload it again") from error


def _sha256(content: File) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    try:
        return sha256_of(content)
    except FileNotFoundError as error:
        raise NotFoundError(f"{content.name}: was deleted; upload it again") from error


def _files_of(row: Row) -> Iterator[str]:
    """The names of all files in a request."""
    yield from (*row.reference, *row.negative_reference)
    for subject in row.subjects.values():
        yield from map(str, (*subject.images, *subject.image_masks))
        yield from (str(name) for name in (subject.mask, subject.file) if name is not None)
