"""A job: one video of a list, with its seed, the files that it needs, and the name of its own file."""

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any

from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.files import sha256_of
from refilm.hub import is_hub_id
from refilm.jobs.row import Row, unknown

SLUG = 40  # characters
SEEDS = 2**31


@dataclass(frozen=True)
class Job:
    """One video of a list."""

    number: int
    """Number of its row, counted from 1."""
    place: str
    """The file and the line of its row."""
    source: Path
    """The file of the list, an absolute path."""
    output: str
    """Name of the video's file."""
    row: Row | None
    """Its settings; None if the row is invalid."""
    seed: int = 0
    subjects: tuple[Subject, ...] = ()
    negative: tuple[Path, ...] = ()
    """Images of the negative reference."""
    error: str | None = None
    """Why the row is invalid."""

    def digest(self, model: Mapping[str, Any]) -> str:
        """Identifies everything that determines the video, except for the versions of libraries: settings, seed, the
        content of all files, and the model, given by name."""
        content = self.error if self.row is None else self.row.content()
        return _hashed([content, self.seed, [_digest_of(path) for path in self._files()], dict(model)])

    def _files(self) -> Iterator[Any]:
        for subject in self.subjects:
            yield from (*subject.images, *subject.image_masks)
            yield from (path for path in (subject.mask, subject.file) if path is not None)
        yield from self.negative


def jobs_of(rows: Sequence[tuple[str, Mapping[str, Any]]], source: Path) -> list[Job]:
    """The jobs of rows, given as their places and values.

    Args:
        rows: where each row stands, and its plain values.
        source: the file of the list; paths count from its folder. An absolute path, because recipes of videos have the
            paths of their files.

    Raises:
        UserError: a row has an unknown name, or two rows have the same output file.
    """
    seen: Counter[str] = Counter()
    jobs = [_job(number, place, values, source, seen) for number, (place, values) in enumerate(rows, start=1)]
    places: dict[str, str] = {}
    for job in filter(_has_given_name, jobs):
        other = places.setdefault(job.output.casefold(), job.place)  # some disks do not distinguish capitals
        if other is not job.place:
            raise UserError(f"{job.place}: output {job.output} is also that of {other}; give each row its own")
    return [job if _has_given_name(job) else _avoiding(places, job) for job in jobs]


def _has_given_name(job: Job) -> bool:
    return job.row is not None and job.row.output is not None


def _avoiding(taken: Container[str], job: Job) -> Job:
    """A job with a default file name, changed if another row has been given this name."""
    path = Path(job.output)
    names = chain([job.output], (f"{path.stem}-{number}{path.suffix}" for number in count(2)))
    return replace(job, output=next(name for name in names if name.casefold() not in taken))


def _job(number: int, place: str, values: Mapping[str, Any], source: Path, seen: Counter[str]) -> Job:
    for message in unknown(values):
        raise UserError(f"{place}: {message}")
    try:
        row = Row.from_values(values)
        subjects, negative = _subjects(row, source.parent), _all_located(row.negative_reference, source.parent)
    except UserError as error:
        return Job(number, place, source, f"{number:04}.mp4", None, error=str(error))
    content = _hashed(row.content())
    seed = row.seed if row.seed is not None else int(_hashed([content, seen[content]]), 16) % SEEDS
    seen[content] += 1
    return Job(number, place, source, row.output or f"{_slug(number, row.prompt)}.mp4", row, seed, subjects, negative)


def _subjects(row: Row, folder: Path) -> tuple[Subject, ...]:
    if row.reference and row.subjects:
        raise UserError("reference: gives the images of a single subject; add them to subjects")
    subjects = {"subject": Subject(images=row.reference)} if row.reference else row.subjects
    return tuple(_with_paths(subject, folder) for subject in subjects.values())


def _with_paths(subject: Subject, folder: Path) -> Subject:
    """The subject with the paths of its files; a Hub id remains as it is."""
    found: dict[str, Any] = {name: _all_located(getattr(subject, name), folder) for name in ("images", "image_masks")}
    if subject.mask is not None:
        found["mask"] = _located(subject.mask, folder)
    if subject.file is not None and ((folder / subject.file).exists() or not is_hub_id(subject.file)):
        found["file"] = _located(subject.file, folder)
    return subject.model_copy(update=found)


def _all_located(paths: Sequence[Any], folder: Path) -> tuple[Path, ...]:
    return tuple(_located(path, folder) for path in paths)


def _located(path: Any, folder: Path) -> Path:
    if not os.path.isfile(folder / path):  # Path.is_file raises an error for names that are too long
        raise UserError(f"{path}: no such file in {folder}; paths count from the folder of the list")
    return folder / path


def _slug(number: int, prompt: str) -> str:
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    return "-".join([f"{number:04}", *re.findall(r"[a-z0-9]+", plain)])[:SLUG].rstrip("-")


def _hashed(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _digest_of(path: Path) -> str | None:
    """The sha256 of a file; None if it cannot be read, which is an error of its row."""
    try:
        state = path.stat()
        return _sha256(path, state.st_mtime_ns, state.st_size)
    except OSError:
        return None


@cache
def _sha256(path: Path, changed: int, size: int) -> str:
    """The sha256 of a file, read once while it stays as it is."""
    return sha256_of(path)
