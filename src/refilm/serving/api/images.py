"""Checks of uploaded files: their type by their content, and everything that could make reading them expensive."""

import tempfile
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore
from typing import Literal

from refilm.errors import UserError
from refilm.media.colors import WHITE
from refilm.media.images import opened, shown_image
from refilm.media.opening import reading
from refilm.printable import printable
from refilm.serving.characters import SUFFIX, require_subject_file

Kind = Literal["image", "mask", "subject"]
"""What a file is for: an image, a mask (an image, GIF or MP4), or a subject file."""
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "GIF": ".gif"}
MEGAPIXELS = 256  # of all images of a request
_decoding = BoundedSemaphore(2)  # images at once, each of which can need half a gigabyte


class Checks:
    """Checks the files of one request."""

    def __init__(self):
        self._pixels = 0

    def suffix(self, content: bytes, kind: Kind, name: str) -> str:
        """Check a file; returns the ending that a file of its type has.

        Args:
            name: its name in errors.

        Raises:
            UserError: it is of another type, damaged, or too large.
        """
        name = f"{printable(name):.100}"
        if not content:
            raise UserError(f"{name}: is empty; upload it again")
        if kind == "subject":
            with _decoding:
                require_subject_file(content)
            return SUFFIX
        if kind == "mask" and content[4:8] == b"ftyp":
            _require_video(content, name)
            return ".mp4"
        return self._image(content, name)

    def _image(self, content: bytes, name: str) -> str:
        image = opened(BytesIO(content), Path(name))
        suffix = SUFFIXES.get(image.format or "")
        if suffix is None:
            raise UserError(f"{name}: is {image.format}; upload PNG, JPEG, WebP or GIF")
        self._pixels += image.width * image.height
        if self._pixels > MEGAPIXELS * 10**6:
            raise UserError(f"{name}: the request's images have more than {MEGAPIXELS} megapixels; scale them down")
        with _decoding:
            shown_image(image, name, WHITE)
        return suffix


def _require_video(content: bytes, name: str) -> None:
    """Open a video without decoding it; the worker decodes it, within the limits of all videos."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.mp4"
        path.write_bytes(content)
        try:
            with reading(path):
                pass
        except UserError as error:
            raise UserError(str(error).replace(str(path), name)) from error
