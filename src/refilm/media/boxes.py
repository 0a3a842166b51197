"""Parse the boxes of MP4 and MOV (ISO/IEC 14496-12, 4.2) and refuse files that declare an implausible frame count.

FFmpeg builds an index of all frames when it opens a file, with 72 bytes per frame, so a 2 KB file could allocate
gigabytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from refilm.errors import UserError

MOST = 1_000_000  # boxes that are parsed; files can nest any number
LONGEST = 5_000_000  # frames of a track or fragment: 46 hours at 30 frames a second
NESTED = b"moov trak mdia minf stbl stsd moof traf mvex edts dinf udta tref sinf schi iprp ipco tapt".split()
STSD = 8  # bytes before the nested sample descriptions
COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}  # offset of the frame count


class Box(NamedTuple):
    """A box and its position."""

    parent: bytes
    kind: bytes
    start: int
    inside: int
    """Start of its content."""


def boxes(file: BinaryIO) -> Iterator[Box]:
    """All boxes of a file, including nested ones but not those in media data.

    Raises:
        UserError: there are too many boxes.
    """
    stack = [(0, file.seek(0, 2), b"")]
    for _ in range(MOST):
        if not stack:
            return
        start, end, parent = stack.pop()
        file.seek(start)
        head = file.read(16)
        if start >= end or len(head) < 8:
            continue
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        inside = start + (16 if length == 1 else 8)
        length = int.from_bytes(head[8:], "big") if length == 1 else length or end - start
        if length < 8:
            continue
        stack.append((start + length, end, parent))
        yield Box(parent, kind, start, inside)
        if kind in NESTED:
            stack.append((inside + (STSD if kind == b"stsd" else 0), min(start + length, end), kind))
    raise UserError(f"contains more than {MOST:,} boxes; convert it again")


@dataclass
class IndexedTrack:
    """The properties that determine the length of FFmpeg's index of a track."""

    sound: bool = True
    even: bool = True
    """Whether all frames have the same duration. In sound tracks these are single samples, which are not indexed."""
    frames: int = 0


def assert_plausible(file: BinaryIO) -> None:
    """Refuse a file that would allocate gigabytes before its first frame.

    Raises:
        UserError: the file has too many boxes, declares too many frames, or its index is compressed.
    """
    tracks = [IndexedTrack()]
    for box in boxes(file):
        file.seek(box.inside)
        head, track = file.read(16), tracks[-1]
        if box.kind == b"trak":
            tracks.append(IndexedTrack())
        elif box.kind == b"hdlr" and box.parent == b"mdia":
            track.sound &= head[8:12] == b"soun"
        elif box.kind == b"stts":
            track.even &= head[4:8] == head[12:16] == b"\0\0\0\1"
        elif box.kind in COUNTS:
            frames = int.from_bytes(head[COUNTS[box.kind] :][:4], "big")
            track.frames = max(track.frames, frames)
            track.even &= box.kind != b"trun"
        elif box.kind == b"cmov":
            raise UserError("its index is compressed, as in very old QuickTime files; convert it again")
    most = max(0 if track.sound and track.even else track.frames for track in tracks)
    if most > LONGEST:
        raise UserError(f"declares {most:,} frames, more than the limit of {LONGEST:,}; convert it again")
