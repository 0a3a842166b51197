"""What there is to learn from, before encoding: clips with captions and reference pictures, none of them opened yet.

Each film and picture says what it is without being opened, as far as that can be, so that what is encoded already is
left alone; and all of them pickle, so that other processes open them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from refilm.data import critters
from refilm.data.examples import VIDEOS, Example, Reference
from refilm.data.views import cut_out
from refilm.files import sha256_of
from refilm.media import open_mask, open_picture
from refilm.media.pictures import Color
from refilm.media.sampling import sample_video


class Film(Protocol):
    """A moving picture."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def identity(self) -> str:
        """Tells its content from any other, whatever it is called."""
        ...

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        """Its frames at that rate, (H, W, 3) uint8, each the nearest in time, until it ends."""
        ...

    def verify(self) -> None:
        """Make sure, after it was read, that what was read is what its identity says.

        Raises:
            ValueError: it has changed.
        """


class Picture(Protocol):
    """A still picture."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def identity(self) -> str:
        """Tells its content from any other, whatever it is called."""
        ...

    def load(self, background: Color) -> Image.Image:
        """The picture in RGB, on `background` where it is transparent or cut out."""
        ...

    def verify(self) -> None:
        """Make sure, after it was read, that what was read is what its identity says.

        Raises:
            ValueError: it has changed.
        """


@dataclass(frozen=True)
class Sample:
    """One clip. Its captions are alternatives; so are its references."""

    film: Film
    captions: tuple[str, ...]
    references: tuple[Picture, ...]
    subject: str | None = None
    """Clips of one subject share it."""
    mask: Film | None = None
    """White where the subject is."""


class Source(Protocol):
    """Samples by number; the same number is always the same sample. Asking for one opens nothing."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True)
class Critters(Source):
    """Clips of critters; two captions each, the first without the looks, the second with them. Where classes are told,
    a third names the subject's shape alone."""

    clips: int
    split: critters.Split = "train"
    seed: int = 0
    references: int = 2
    size: int = critters.SIZE
    classes: bool = False

    def __len__(self) -> int:
        return self.clips

    def __getitem__(self, index: int, /) -> Sample:
        story = critters.story(self.seed, index, self.split)
        clip = (self.seed, index, self.split, self.size)
        return Sample(
            film=DrawnFilm(*clip),
            captions=(story.caption, story.looks_caption, *([story.class_caption] if self.classes else [])),
            references=tuple(DrawnPicture(*clip, number) for number in range(self.references)),
            subject=story.subject.looks,
        )


@dataclass(frozen=True)
class DrawnFilm(Film):
    """The film of a clip of critters."""

    seed: int
    index: int
    split: critters.Split
    size: int = critters.SIZE

    @property
    def name(self) -> str:
        return f"critters {self.split} {self.seed} {self.index}"

    @property
    def identity(self) -> str:
        return repr(self)

    def pixels(self) -> np.ndarray:
        """All frames, (F, H, W, 3) uint8."""
        return critters.draw_film(self.seed, self.index, self.split, size=self.size)

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        pixels = self.pixels()
        step = critters.FPS / fps
        places = np.ceil(np.arange(0, len(pixels) - 0.5, step) - 0.5).astype(int)
        return (pixels[place] for place in places)


@dataclass(frozen=True)
class DrawnPicture(Picture):
    """A portrait of the subject of a clip of critters."""

    seed: int
    index: int
    split: critters.Split
    size: int
    number: int

    @property
    def name(self) -> str:
        return f"critters {self.split} {self.seed} {self.index}, portrait {self.number}"

    @property
    def identity(self) -> str:
        return repr(self)

    def load(self, background: Color) -> Image.Image:
        drawn = critters.draw_portrait(self.seed, self.index, self.split, number=self.number, size=2 * self.size)
        return Image.fromarray(drawn)


class Files(Source):
    """Clips from files. A clip's caption and its references are what the folder or manifest says.

    Args:
        examples: the clips.
        hashes: sha256 of their files, as far as they are known; others are read when their clip is asked for.
    """

    def __init__(self, examples: Sequence[Example], hashes: Mapping[Path, str] | None = None):
        self.examples, self.hashes = examples, dict(hashes or {})

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int, /) -> Sample:
        example = self.examples[index]
        return Sample(
            film=FilmFile(example.video, self._hash(example.video), example.start, example.end),
            captions=(example.caption,),
            references=tuple(self._picture(reference) for reference in example.references),
            subject=example.subject,
            mask=None if example.mask is None else self._mask(example.mask, example),
        )

    def _mask(self, path: Path, example: Example) -> "FilmFile | StillFile":
        if path.suffix.lower() in VIDEOS:
            return FilmFile(path, self._hash(path), example.start, example.end)
        return StillFile(path, self._hash(path))

    def _picture(self, reference: Reference) -> "PictureFile":
        mask = reference.mask
        mask_hash = None if mask is None else self._hash(mask)
        return PictureFile(reference.picture, self._hash(reference.picture), mask, mask_hash)

    def _hash(self, path: Path) -> str:
        if path not in self.hashes:
            self.hashes[path] = hashed(path)
        return self.hashes[path]


@dataclass(frozen=True)
class FilmFile(Film):
    """A video file, or its part from `start` to `end`, in seconds."""

    path: Path
    sha256: str
    start: float | None = None
    end: float | None = None

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        return f"{self.sha256} {self.start} {self.end}"

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        return sample_video(self.path, fps=fps, start=self.start, end=self.end)

    def verify(self) -> None:
        _verify(self.path, self.sha256)


@dataclass(frozen=True)
class StillFile(Film):
    """A picture file as a film without an end, in which nothing moves: a mask that holds for every frame."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        return f"still {self.sha256}"

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        pixels = np.asarray(open_mask(self.path).convert("RGB"))
        while True:
            yield pixels

    def verify(self) -> None:
        _verify(self.path, self.sha256)


@dataclass(frozen=True)
class PictureFile(Picture):
    """A picture file; with a mask, the subject is cut out along it."""

    path: Path
    sha256: str
    mask: Path | None = None
    mask_sha256: str | None = None

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        return self.sha256 if self.mask is None else f"{self.sha256} {self.mask_sha256}"

    def load(self, background: Color) -> Image.Image:
        picture = open_picture(self.path, background=background)
        if self.mask is None:
            return picture
        try:
            return cut_out(picture, open_mask(self.mask), background)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error

    def verify(self) -> None:
        _verify(self.path, self.sha256)
        if self.mask is not None:
            _verify(self.mask, self.mask_sha256)


def _verify(path: Path, sha256: str | None) -> None:
    """A cache knows what it holds by content, so a file that changes under an encoding must not come in as another."""
    if hashed(path) != sha256:
        raise ValueError(f"{path}: has changed since it was checked; run: refilm data check, and encode again")


def hashed(path: Path) -> str:
    """The sha256 of a file's content.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); mend the path, or the file's permissions"
        ) from error
