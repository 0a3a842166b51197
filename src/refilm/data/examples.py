"""The entries of a data set: training clips, each with its caption and its reference images.

Independent of the format in which they are listed; opens no files.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from refilm.errors import UserError

LAYOUT = "videos/1.mp4, labels/1.txt, ref_images/1/*.png"  # the layout for folders made by hand
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif")
LONGEST_VIDEO = 10**6  # seconds, 11 days: the largest start or end
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
STILLS = tuple(suffix for suffix in IMAGES if suffix not in VIDEOS)  # as a clip, a GIF is a video
LONGEST_SOURCE = 300  # characters of a clip's original name; a file name has at most 255 bytes
LOST = "\ufffd"  # the replacement character for what a program could not decode


@dataclass(frozen=True)
class Reference:
    """An image of the subject."""

    image: Path
    mask: Path | None = None
    """A mask image, white where the subject is in `image`."""


@dataclass(frozen=True)
class Example:
    """One training clip."""

    video: Path
    """A video, or for a still an image."""
    caption: str
    references: tuple[Reference, ...]
    """Images of the subject; empty if they have not been made yet."""
    start: float | None = None
    """Start of the clip in the video, in seconds. None: the start of the video."""
    end: float | None = None
    """End of the clip, in seconds. None: the end of the video."""
    subject: str | None = None
    """The same name for all clips of one subject."""
    mask: Path | None = None
    """A mask video or image, white where the subject is in the clip."""
    source: str | None = None
    """The clip's name in the source that it was imported from. None: it was not imported."""

    @property
    def still(self) -> bool:
        """Whether the clip is an image instead of a video."""
        return self.video.suffix.lower() in STILLS

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of this example, the video first."""
        images = (path for reference in self.references for path in (reference.image, reference.mask))
        return (self.video, *(path for path in (*images, self.mask) if path is not None))


@dataclass(frozen=True)
class Fault:
    """A problem with an example's entry."""

    kind: Literal["line", "caption", "missing", "outside"]
    """The line is invalid; the caption is missing; a file does not exist; a file is outside the data set's folder."""
    message: str
    """One sentence that names the place and how to fix it."""
    file: Path | None = None
    """The missing or outside file."""


@dataclass(frozen=True)
class Listed:
    """An example's entry, valid or not."""

    place: str
    """Where it is listed: a manifest and line number, or a file in a folder."""
    example: Example | None
    """None if the entry cannot be parsed."""
    faults: tuple[Fault, ...] = ()


def require_valid(listed: Sequence[Listed]) -> list[Example]:
    """The examples, if all entries are valid.

    Raises:
        UserError: an entry has a fault. The error names the first and counts the others.
    """
    faulty = [one for one in listed if one.faults]
    if faulty:
        more = f" ({len(faulty) - 1} more examples have faults)" if len(faulty) > 1 else ""
        raise UserError(f"{faulty[0].faults[0].message}{more}")
    return [one.example for one in listed if one.example is not None]


def one_line(text: str) -> str:
    """A caption on one line, with single spaces: text encoders read it the same way."""
    return " ".join(text.split())


def caption_faults(caption: str, place: str) -> list[Fault]:
    """The faults of a one-line caption: it is empty, or contains characters that indicate a wrong encoding."""
    if not caption:
        return [Fault("caption", f"{place}: the caption is empty; describe what happens in the video")]
    if odd := next(
        (letter for letter in caption if unicodedata.category(letter) in ("Cc", "Cs") or letter == LOST), None
    ):
        complaint = f"the caption contains U+{ord(odd):04X}, which does not occur in text"
        return [Fault("caption", f"{place}: {complaint}; save it as UTF-8, or rewrite it")]
    return []
