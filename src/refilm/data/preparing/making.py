"""One image: found in videos or cut out, and written as a PNG. Runs in worker processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from refilm.data.preparing.choosing import Wish, find
from refilm.data.views import cut_out
from refilm.files import atomic_file
from refilm.media import open_image, open_mask
from refilm.media.images import Color


@dataclass(frozen=True)
class Masked:
    """A reference that is there, to be cut out along its mask."""

    image: Path
    mask: Path
    ground: Color

    @property
    def source(self) -> Path:
        """What to name the result after."""
        return self.image

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is made from."""
        return self.image, self.mask

    def meaning(self, hashes: Mapping[Path, str]) -> str:
        """All that makes the result what it is: contents and numbers, no paths."""
        return repr((hashes[self.image], hashes[self.mask], self.ground))


@dataclass(frozen=True)
class Job:
    """An image to be made."""

    item: Masked | Wish
    path: Path
    seed: int
    keep_ground: bool
    """Whether a frame that no mask cuts out is done as it is."""


@dataclass(frozen=True)
class Unfinished:
    """A frame whose background is still to be removed; it is not written yet."""

    image: Image.Image
    about: str


def make(job: Job) -> Unfinished | None:
    """Make and write an image.

    Raises:
        ValueError: no frame can be taken, a mask does not fit, or a file cannot be read; names the file.
    """
    if isinstance(job.item, Masked):
        write_image(_cut(job.item), job.path, f"{job.item.image.name}, cut out")
        return None
    found = find(job.item, np.random.default_rng(job.seed))
    about = f"{found.video.name} at {found.second:.3f} s{', cut out' if found.masked else ''}"
    if not found.masked and not job.keep_ground:
        return Unfinished(found.image, about)
    write_image(found.image, job.path, about)
    return None


def write_image(image: Image.Image, path: Path, about: str) -> None:
    """A PNG that tells where it is from. It appears whole or not at all."""
    words = PngInfo()
    words.add_text("Source", about)
    with atomic_file(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=words)


def _cut(item: Masked) -> Image.Image:
    image = open_image(item.image, background=item.ground)
    try:
        return cut_out(image, open_mask(item.mask), item.ground)
    except ValueError as error:
        raise ValueError(f"{item.image} with {item.mask}: {error}") from error
