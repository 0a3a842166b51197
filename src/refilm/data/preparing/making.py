"""One picture: found in videos or cut out, and written as a PNG. Runs in worker processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from refilm.data.preparing.choosing import Wish, find
from refilm.data.views import cut_out
from refilm.files import atomic_file
from refilm.media import open_mask, open_picture
from refilm.media.pictures import Color


@dataclass(frozen=True)
class Masked:
    """A reference that is there, to be cut out along its mask."""

    picture: Path
    mask: Path
    ground: Color

    @property
    def source(self) -> Path:
        """What to name the result after."""
        return self.picture

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is made from."""
        return self.picture, self.mask

    def meaning(self, hashes: Mapping[Path, str]) -> str:
        """All that makes the result what it is: contents and numbers, no paths."""
        return repr((hashes[self.picture], hashes[self.mask], self.ground))


@dataclass(frozen=True)
class Job:
    """A picture to be made."""

    item: Masked | Wish
    path: Path
    seed: int
    keep_ground: bool
    """Whether a frame that no mask cuts out is done as it is."""


@dataclass(frozen=True)
class Unfinished:
    """A frame whose background is still to be removed; it is not written yet."""

    picture: Image.Image
    about: str


def make(job: Job) -> Unfinished | None:
    """Make and write a picture.

    Raises:
        ValueError: no frame can be taken, a mask does not fit, or a file cannot be read; names the file.
    """
    if isinstance(job.item, Masked):
        write_picture(_cut(job.item), job.path, f"{job.item.picture.name}, cut out")
        return None
    found = find(job.item, np.random.default_rng(job.seed))
    about = f"{found.video.name} at {found.second:.3f} s{', cut out' if found.masked else ''}"
    if not found.masked and not job.keep_ground:
        return Unfinished(found.picture, about)
    write_picture(found.picture, job.path, about)
    return None


def write_picture(picture: Image.Image, path: Path, about: str) -> None:
    """A PNG that tells where it is from. It appears whole or not at all."""
    words = PngInfo()
    words.add_text("Source", about)
    with atomic_file(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=words)


def _cut(item: Masked) -> Image.Image:
    picture = open_picture(item.picture, background=item.ground)
    try:
        return cut_out(picture, open_mask(item.mask), item.ground)
    except ValueError as error:
        raise ValueError(f"{item.picture} with {item.mask}: {error}") from error
