"""What a data set lists: clips to learn from, each with its caption and its reference images.

Knows nothing of how they are listed, and opens no file.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LAYOUT = "videos/1.mp4, labels/1.txt, ref_images/1/*.png"  # as people lay them out by hand
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif")
LONGEST_VIDEO = 10**6  # seconds, 11 days: what a start or an end may be at most
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
LONGEST_SOURCE = 300  # characters of what a clip was called where it comes from; a file's name has at most 255 bytes
LOST = "\ufffd"  # stands where a program could not read a character


@dataclass(frozen=True)
class Reference:
    """An image of the subject."""

    image: Path
    mask: Path | None = None
    """An image, white where the subject is in the other."""


@dataclass(frozen=True)
class Example:
    """One clip to learn from."""

    video: Path
    caption: str
    references: tuple[Reference, ...]
    """Of the subject; none where they are still to be made."""
    start: float | None = None
    """Where the clip begins in the video, in seconds; None: where the video does."""
    end: float | None = None
    """Where the clip ends, in seconds; None: where the video does."""
    subject: str | None = None
    """A name that all clips of one subject share."""
    mask: Path | None = None
    """A video or image, white where the subject is in the clip."""
    source: str | None = None
    """What the clip is called where it was imported from; None: it was not."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of this example, the video first."""
        images = (path for reference in self.references for path in (reference.image, reference.mask))
        return (self.video, *(path for path in (*images, self.mask) if path is not None))


@dataclass(frozen=True)
class Fault:
    """What is wrong with how an example is listed."""

    kind: Literal["line", "caption", "missing", "outside"]
    """It cannot be understood; has no caption; a file is not there, or may not be used."""
    message: str
    """One sentence with the place and the remedy."""
    file: Path | None = None
    """The file that is missing or outside."""


@dataclass(frozen=True)
class Listed:
    """An example as it is listed, right or wrong."""

    place: str
    """Where: a manifest and the line, or a file of a folder."""
    example: Example | None
    """None where it cannot be understood."""
    faults: tuple[Fault, ...] = ()


def sound(listed: Sequence[Listed]) -> list[Example]:
    """The examples.

    Raises:
        ValueError: one of them has a fault. Names the first and counts the rest.
    """
    faulty = [one for one in listed if one.faults]
    if faulty:
        more = f" ({len(faulty) - 1} more of the examples have faults)" if len(faulty) > 1 else ""
        raise ValueError(f"{faulty[0].faults[0].message}{more}")
    return [one.example for one in listed if one.example is not None]


def one_line(text: str) -> str:
    """A caption as the text encoders read it anyway."""
    return " ".join(text.split())


def caption_faults(caption: str, place: str) -> list[Fault]:
    """That a caption, in one line, says nothing, or holds what nobody writes: then it was read in a wrong encoding."""
    if not caption:
        return [Fault("caption", f"{place}: the caption is empty; say what happens in the video")]
    if odd := next(
        (letter for letter in caption if unicodedata.category(letter) in ("Cc", "Cs") or letter == LOST), None
    ):
        complaint = f"the caption holds U+{ord(odd):04X}, a character that nobody writes"
        return [Fault("caption", f"{place}: {complaint}; save it as UTF-8, or write it anew")]
    return []
