"""What there is to learn from, before encoding: clips with captions and reference images, none of them opened yet.

Each clip and image says what it is without being opened, as far as that can be, so that what is encoded already is
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
from refilm.media import open_image, open_mask
from refilm.media.images import Color
from refilm.media.sampling import sample_video


class Clip(Protocol):
    """A moving image."""

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


class ImageSource(Protocol):
    """A still image."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def identity(self) -> str:
        """Tells its content from any other, whatever it is called."""
        ...

    def load(self, background: Color) -> Image.Image:
        """The image in RGB, on `background` where it is transparent or cut out."""
        ...

    def verify(self) -> None:
        """Make sure, after it was read, that what was read is what its identity says.

        Raises:
            ValueError: it has changed.
        """


@dataclass(frozen=True)
class Sample:
    """One clip. Its captions are alternatives; so are its references."""

    clip: Clip
    captions: tuple[str, ...]
    references: tuple[ImageSource, ...]
    subject: str | None = None
    """Clips of one subject share it."""
    mask: Clip | None = None
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
            clip=DrawnClip(*clip),
            captions=(story.caption, story.looks_caption, *([story.class_caption] if self.classes else [])),
            references=tuple(DrawnImage(*clip, number) for number in range(self.references)),
            subject=story.subject.looks,
        )


@dataclass(frozen=True)
class DrawnClip(Clip):
    """The clip of a clip of critters."""

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
        return critters.draw_video(self.seed, self.index, self.split, size=self.size)

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        pixels = self.pixels()
        step = critters.FPS / fps
        places = np.ceil(np.arange(0, len(pixels) - 0.5, step) - 0.5).astype(int)
        return (pixels[place] for place in places)


@dataclass(frozen=True)
class DrawnImage(ImageSource):
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
            clip=ClipFile(example.video, self._hash(example.video), example.start, example.end),
            captions=(example.caption,),
            references=tuple(self._image(reference) for reference in example.references),
            subject=example.subject,
            mask=None if example.mask is None else self._mask(example.mask, example),
        )

    def _mask(self, path: Path, example: Example) -> "ClipFile | StillFile":
        if path.suffix.lower() in VIDEOS:
            return ClipFile(path, self._hash(path), example.start, example.end)
        return StillFile(path, self._hash(path))

    def _image(self, reference: Reference) -> "ImageFile":
        mask = reference.mask
        mask_hash = None if mask is None else self._hash(mask)
        return ImageFile(reference.image, self._hash(reference.image), mask, mask_hash)

    def _hash(self, path: Path) -> str:
        if path not in self.hashes:
            self.hashes[path] = hashed(path)
        return self.hashes[path]


@dataclass(frozen=True)
class ClipFile(Clip):
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
class StillFile(Clip):
    """An image file as a clip without an end, in which nothing moves: a mask that holds for every frame."""

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
class ImageFile(ImageSource):
    """An image file; with a mask, the subject is cut out along it."""

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
        image = open_image(self.path, background=background)
        if self.mask is None:
            return image
        try:
            return cut_out(image, open_mask(self.mask), background)
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
