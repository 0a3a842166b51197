"""Create one reference image: chosen from videos or cut out, and written as a PNG. Runs in worker processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from refilm.data.augmentation import cut_out
from refilm.data.preparing.choosing import FrameRequest, choose_frame
from refilm.errors import UserError
from refilm.files import atomic_file
from refilm.media import open_image, open_mask
from refilm.media.colors import Color


@dataclass(frozen=True)
class CutImage:
    """An existing image whose subject is to be cut out."""

    image: Path
    mask: Path | None
    """White where the subject is. None: its background still has to be removed."""
    background: Color

    @property
    def source(self) -> Path:
        """The file that the result is named after."""
        return self.image

    @property
    def files(self) -> tuple[Path, ...]:
        """All input files."""
        return (self.image,) if self.mask is None else (self.image, self.mask)

    def identity(self, hashes: Mapping[Path, str]) -> str:
        """Everything that determines the result: contents and numbers, no paths."""
        return repr((hashes[self.image], self.mask and hashes[self.mask], self.background))


@dataclass(frozen=True)
class Job:
    """An image to create."""

    item: CutImage | FrameRequest
    path: Path
    seed: int
    keep_background: bool
    """Whether a frame without a mask is written unchanged."""


@dataclass(frozen=True)
class UncutFrame:
    """An image whose background still has to be removed; it is not written yet."""

    image: Image.Image
    about: str


def make(job: Job) -> UncutFrame | None:
    """Create and write an image.

    Raises:
        UserError: there is no suitable frame, a mask does not fit, or a file cannot be read. The error names the file.
    """
    if isinstance(job.item, CutImage):
        image, name = open_image(job.item.image, background=job.item.background), job.item.image.name
        if job.item.mask is None:
            return UncutFrame(image, name)
        write_image(_cut(image, job.item, job.item.mask), job.path, f"{name}, cut out")
        return None
    found = choose_frame(job.item, np.random.default_rng(job.seed))
    about = f"{found.video.name} at {found.second:.3f} s{', cut out' if found.masked else ''}"
    if not found.masked and not job.keep_background:
        return UncutFrame(found.image, about)
    write_image(found.image, job.path, about)
    return None


def write_image(image: Image.Image, path: Path, about: str) -> None:
    """Write a PNG with its origin in the text chunk `Source`, atomically."""
    words = PngInfo()
    words.add_text("Source", about)
    with atomic_file(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=words)


def _cut(image: Image.Image, item: CutImage, mask: Path) -> Image.Image:
    try:
        return cut_out(image, open_mask(mask), item.background)
    except UserError as error:
        raise UserError(f"{item.image} with {mask}: {error}") from error
