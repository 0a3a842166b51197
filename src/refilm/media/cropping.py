"""Detect crops declared by the container, which FFmpeg's libraries do not expose.

MP4's box clap (ISO/IEC 14496-12, 12.1.4) and Matroska's PixelCrop (RFC 9559). Reads headers only.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from refilm.media.boxes import boxes
from refilm.media.containers import Format, variable_length

MOST = 100_000  # elements that are parsed; files can nest any number
ENTRY = 86  # bytes of a video sample description before its nested boxes
SEGMENT, TRACKS, TRACK, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
CROPS = (0x54AA, 0x54BB, 0x54CC, 0x54DD)


def declares_crop(file: BinaryIO, kind: Format) -> bool:
    """Whether a track of the file declares a crop that removes something."""
    size = file.seek(0, 2)
    if kind == "mov":
        return any(_clapped(file, box.start) for box in boxes(file) if box.parent == b"stsd")
    if kind == "matroska":
        return any(_value(file, place, length) for place, length in _crops(file, size))
    return False


def _clapped(file: BinaryIO, place: int) -> bool:
    """Whether a sample description has a clean aperture smaller than its frames."""
    file.seek(place)
    head = file.read(ENTRY)
    inside = file.read(min(max(int.from_bytes(head[:4], "big") - ENTRY, 0), 1 << 20))
    found = inside.find(b"clap")
    if len(head) < ENTRY or found < 0 or len(inside) < found + 20:
        return False
    width, height = struct.unpack(">HH", head[32:36])
    numbers = struct.unpack(">4I", inside[found + 4 : found + 20])
    return numbers[0] < width * numbers[1] or numbers[2] < height * numbers[3]


def _crops(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Positions and lengths in bytes of Matroska's crop values."""
    stack = [(0, size)]
    for _ in range(MOST):
        if not stack:
            return
        start, end = stack.pop()
        if start >= end:
            continue
        file.seek(start)
        identity = _identity(file)
        length = variable_length(file)
        place = file.tell()
        stop = end if length < 0 else place + length
        if place == start:
            continue
        stack.append((stop, end))
        if identity in (SEGMENT, TRACKS, TRACK, VIDEO):
            stack.append((place, min(stop, end)))
        elif identity in CROPS:
            yield place, min(length, 8)


def _identity(file: BinaryIO) -> int:
    first = file.read(1)
    if not first or not first[0]:
        return 0
    return int.from_bytes(first + file.read(8 - first[0].bit_length()), "big")


def _value(file: BinaryIO, place: int, length: int) -> int:
    file.seek(place)
    return int.from_bytes(file.read(length), "big")
