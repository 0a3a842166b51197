"""Paths of a data set's files and reports, and the file names used in reports."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from refilm.data.examples import Example


def home_of(path: Path) -> Path:
    """The folder that paths are relative to: a manifest's parent, or the folder itself."""
    return path if path.is_dir() else path.parent


def report_paths(path: Path) -> tuple[Path, Path]:
    """Paths of the report on a manifest or folder: JSON and HTML."""
    if path.is_dir():
        return path / "refilm.check.json", path / "refilm.check.html"
    return path.with_suffix(".check.json"), path.with_suffix(".check.html")


def name_of(path: Path, home: Path) -> str:
    """A file's path relative to `home`, or unchanged if the file is elsewhere."""
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)


def identity_of(examples: Iterable[Example], home: Path) -> str:
    """Digest of the entries (names, captions, start and end, subjects) without the content of the files."""
    digest = hashlib.sha256()
    for example in examples:
        names = [name_of(example.video, home)]
        for reference in example.references:
            names += [name_of(reference.image, home), name_of(reference.mask, home) if reference.mask else ""]
        names.append(name_of(example.mask, home) if example.mask else "")
        line = [names, example.caption, example.start, example.end, example.subject]
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()
