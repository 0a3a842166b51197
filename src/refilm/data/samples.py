"""Training samples before encoding: clips with captions and reference images, opened on demand.

Each clip and image has an identity that does not require opening it, so encodings that already exist are found
without reading the file. All objects can be pickled, so worker processes can open them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from refilm.data.augmentation import cut_out
from refilm.data.examples import VIDEOS, Example, Reference
from refilm.errors import UserError
from refilm.files import sha256_of
from refilm.media import open_image, open_mask
from refilm.media.colors import WHITE, Color
from refilm.media.sampling import sample_video


class Clip(Protocol):
    """A source of frames."""

    @property
    def name(self) -> str:
        """A name for messages."""
        ...

    @property
    def identity(self) -> str:
        """Identifies the content, independent of the name."""
        ...

    @property
    def still(self) -> bool:
        """Whether the clip is a still: one frame, whatever number is required of clips."""
        return False

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        """The frames nearest in time at that rate, (H, W, 3) uint8 each, until the clip ends."""
        ...

    def verify(self) -> None:
        """Check after reading that the content still matches the identity.

        Raises:
            UserError: the content has changed.
        """


class ImageSource(Protocol):
    """A source of one image."""

    @property
    def name(self) -> str:
        """A name for messages."""
        ...

    @property
    def identity(self) -> str:
        """Identifies the content, independent of the name."""
        ...

    def load(self, background: Color) -> Image.Image:
        """The RGB image; transparent and masked-out parts are filled with `background`."""
        ...

    def verify(self) -> None:
        """Check after reading that the content still matches the identity.

        Raises:
            UserError: the content has changed.
        """


@dataclass(frozen=True)
class Sample:
    """One clip with alternative captions and alternative references."""

    clip: Clip
    captions: tuple[str, ...]
    references: tuple[ImageSource, ...]
    subject: str | None = None
    """The same name for all clips of one subject."""
    mask: Clip | None = None
    """A mask that is white where the subject is."""


class Source(Protocol):
    """An indexed collection of samples; an index always returns the same sample. Indexing opens no files."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True)
class Joined(Source):
    """Several sources, one after the other."""

    sources: Sequence[Source]

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, index: int, /) -> Sample:
        for source in self.sources:
            if index < len(source):
                return source[index]
            index -= len(source)
        raise IndexError(index)


class Files(Source):
    """Clips from files, with captions and references from a folder or manifest.

    Args:
        examples: the clips.
        hashes: known sha256 hashes of their files; missing ones are computed when their clip is requested.
    """

    def __init__(self, examples: Sequence[Example], hashes: Mapping[Path, str] | None = None):
        self.examples, self.hashes = examples, dict(hashes or {})

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int, /) -> Sample:
        example, sha256 = self.examples[index], self._hash(self.examples[index].video)
        return Sample(
            clip=StillFile(example.video, sha256)
            if example.still
            else ClipFile(example.video, sha256, example.start, example.end),
            captions=(example.caption,),
            references=tuple(self._image(reference) for reference in example.references),
            subject=example.subject,
            mask=None if example.mask is None else self._mask(example.mask, example),
        )

    def _mask(self, path: Path, example: Example) -> "ClipFile | MaskFile":
        if path.suffix.lower() in VIDEOS:
            return ClipFile(path, self._hash(path), example.start, example.end)
        return MaskFile(path, self._hash(path))

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
    """A video file, or the part of it from `start` to `end`, in seconds."""

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
    """An image file as a clip of one frame; transparent parts are white, as in videos."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        return f"image {self.sha256}"

    @property
    def still(self) -> bool:
        return True

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        yield np.asarray(open_image(self.path, background=WHITE))

    def verify(self) -> None:
        _verify(self.path, self.sha256)


@dataclass(frozen=True)
class MaskFile(Clip):
    """An image file as an endless clip: a mask that applies to every frame."""

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
    """An image file; with a mask, the subject is cut out."""

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
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from error

    def verify(self) -> None:
        _verify(self.path, self.sha256)
        if self.mask is not None:
            _verify(self.mask, self.mask_sha256)


def _verify(path: Path, sha256: str | None) -> None:
    """Check a file's hash: cache keys are content hashes, so a file that changed while it was read must not be used."""
    if hashed(path) != sha256:
        raise UserError(f"{path}: has changed since it was checked; run: refilm data check, and encode again")


def hashed(path: Path) -> str:
    """The sha256 of a file's content.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); fix the path or the file's permissions") from error
