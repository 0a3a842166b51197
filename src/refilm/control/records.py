"""Subjects as a recipe stores them: the paths of their files, and hashes that recognize the files anywhere."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from refilm.control.directing import Cast
from refilm.control.encoded import image_hash
from refilm.control.masks import read_mask
from refilm.control.shot import Shot
from refilm.control.subject import MOST_VIEWS, Controls, ImageLike, Subject
from refilm.control.subject_files import locate_subject
from refilm.data.examples import IMAGES, VIDEOS
from refilm.errors import UserError
from refilm.files import sha256_of
from refilm.media import as_image, as_mask
from refilm.settings import Settings

Kind = Literal["image", "image_mask", "mask", "file"]
SUFFIXES = {
    "image": IMAGES,
    "image_mask": IMAGES,
    "mask": (*IMAGES, *VIDEOS),
    "file": (".subject",),
}
Hash = Callable[[Any], str]
"""The hash of a file's content; it raises a UserError for a file of another kind."""


class FileRecord(Settings):
    """A file that a video was made from."""

    path: Annotated[str, Field(max_length=4096)] | None = None
    """Its path or Hub id as it was given. None: it was in memory."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of an image's or a mask's pixels, or of a subject file's bytes."""


class SubjectRecord(Controls):
    """A subject with the records of its files in place of the files, see `Subject`."""

    images: tuple[FileRecord, ...] = Field(default=(), max_length=MOST_VIEWS)
    file: FileRecord | None = None
    image_masks: tuple[FileRecord, ...] = Field(default=(), max_length=MOST_VIEWS)
    mask: FileRecord | None = None


def relative_to(record: SubjectRecord, folder: Path) -> SubjectRecord:
    """A record with the paths of its files counted from a folder; what is no path of a file remains."""

    def relative(file: FileRecord | None) -> FileRecord | None:
        if file is None or file.path is None or not Path(file.path).is_absolute():
            return file
        return file.model_copy(update={"path": os.path.relpath(file.path, folder)})

    one = {name: relative(getattr(record, name)) for name in ("file", "mask")}
    several = {name: tuple(map(relative, getattr(record, name))) for name in ("images", "image_masks")}
    return record.model_copy(update={**one, **several})


def records_of(cast: Cast, shot: Shot) -> tuple[SubjectRecord, ...]:
    """The records of a video's subjects; `shot` has the sizes of the video."""
    return tuple(_record(subject, encoded.card.images, shot) for subject, encoded in cast)


def _record(subject: Subject, images: Sequence[str], shot: Shot) -> SubjectRecord:
    shared = {name: getattr(subject, name) for name in Controls.model_fields}
    mask = None if subject.mask is None else _recorded(subject.mask, Hashes(shot).mask)
    if subject.file is not None:
        return SubjectRecord(**shared, mask=mask, file=_recorded(subject.file, Hashes.file))
    return SubjectRecord(
        **shared,
        mask=mask,
        images=tuple(
            FileRecord(path=_path_of(image), sha256=known) for image, known in zip(subject.images, images, strict=True)
        ),
        image_masks=tuple(_recorded(one, Hashes.image_mask) for one in subject.image_masks),
    )


def _recorded(value: ImageLike, of: Hash) -> FileRecord:
    return FileRecord(path=_path_of(value), sha256=of(value))


def _path_of(value: ImageLike) -> str | None:
    return str(value) if isinstance(value, Path | str) else None


@dataclass(frozen=True)
class Hashes:
    """The hashes of files by what they are used for."""

    shot: Shot
    """The sizes of the video: masks of videos are read at its frame rate."""

    @staticmethod
    def image(value: ImageLike) -> str:
        """Of an image's pixels."""
        return image_hash(as_image(value))

    @staticmethod
    def image_mask(value: ImageLike) -> str:
        """Of an image mask's pixels."""
        return _of_pixels(as_mask(value))

    def mask(self, value: ImageLike) -> str:
        """Of the pixels of a mask in the video."""
        return _of_pixels(read_mask(value, self.shot))

    @staticmethod
    def file(value: Path | str) -> str:
        """Of a subject file's bytes."""
        return sha256_of(locate_subject(value))


def _of_pixels(pixels: np.ndarray) -> str:
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


class Files:
    """Finds the files of records by their hashes: where they were, or anywhere in some folders.

    Args:
        shot: the sizes of the video.
        folders: where to look for files that are not where they were, with all folders within.
        beside: a folder to which relative paths may refer, or that contains files of the same name.
    """

    def __init__(self, shot: Shot, folders: Sequence[Path] = (), *, beside: Path | None = None):
        self.hashes, self.folders, self.beside = Hashes(shot), folders, beside
        self._known: dict[tuple[Kind, str], str | None] = {}

    def subject(self, record: SubjectRecord) -> Subject:
        """The subject of a record.

        Raises:
            UserError: a file is missing or differs; names its path and its hash.
        """
        shared = {name: getattr(record, name) for name in Controls.model_fields}
        if record.file is not None:
            shared["file"] = self.find(record.file, "file")
        return Subject(
            **shared,
            images=tuple(self.find(one, "image") for one in record.images),
            image_masks=tuple(self.find(one, "image_mask") for one in record.image_masks),
            mask=None if record.mask is None else self.find(record.mask, "mask"),
        )

    def find(self, record: FileRecord, kind: Kind) -> str:
        """The path of a file with the hash of a record.

        Raises:
            UserError: there is none; names the path where it was and the hash.
        """
        for place in chain(self._named(record), self._around(record, kind)):
            if self._hash(place, kind) == record.sha256:
                return place
        what = kind.replace("_", " ")
        differs = record.path is not None and self._hash(record.path, kind) is not None
        fault = "has changed" if differs else "is not there"
        raise UserError(
            f"{record.path or what}: {fault}; the video was made with the {what} of sha256 {record.sha256}: name a "
            "folder that contains it with --references"
        )

    def _named(self, record: FileRecord) -> list[str]:
        """Where the file was, and the same from the folder of the video."""
        if record.path is None:
            return []
        near = [] if self.beside is None else [self.beside / record.path, self.beside / Path(record.path).name]
        return [record.path, *map(str, near)]

    def _around(self, record: FileRecord, kind: Kind) -> Iterator[str]:
        """Files in the folders; first those with the name of the record's."""
        name = "" if record.path is None else Path(record.path).name
        fitting = (path for path in self._found if path.suffix.lower() in SUFFIXES[kind])
        yield from map(str, sorted(fitting, key=lambda path: path.name != name))

    @cached_property
    def _found(self) -> list[Path]:
        """All files in the folders, which are read only if a file is not where it was."""
        return [path for folder in self.folders for path in sorted(folder.rglob("*")) if path.is_file()]

    def _hash(self, place: str, kind: Kind) -> str | None:
        key = kind, place
        if key not in self._known:
            try:
                self._known[key] = getattr(self.hashes, kind)(place)
            except (UserError, OSError):  # missing, or of another kind
                self._known[key] = None
        return self._known[key]
