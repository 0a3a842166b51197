"""Whether a container says that the edges of its frames are not to be shown: FFmpeg's libraries do not say.

MP4's box clap (ISO/IEC 14496-12, 12.1.4) and Matroska's PixelCrop (RFC 9559). Reads headers alone.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from refilm.media.containers import Format, variable_length

MOST = 100_000  # elements that are looked at: files can nest any number
NESTED = {b"moov": 8, b"trak": 8, b"mdia": 8, b"minf": 8, b"stbl": 8, b"stsd": 16}  # bytes before the boxes inside
ENTRY = 86  # bytes of a description of video, before the boxes inside
SEGMENT, TRACKS, TRACK, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
CROPS = (0x54AA, 0x54BB, 0x54CC, 0x54DD)


def says_to_crop(file: BinaryIO, kind: Format) -> bool:
    """Whether a track of the file has a crop that leaves something out."""
    size = file.seek(0, 2)
    if kind == "mov":
        return any(_clapped(file, place) for place in _boxes(file, 0, size))
    if kind == "matroska":
        return any(_value(file, place, length) for place, length in _crops(file, size))
    return False


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Where the descriptions of tracks are, in all boxes that contain some."""
    stack = [(start, end, b"")]
    for _ in range(MOST):
        if not stack:
            return
        start, end, parent = stack.pop()
        file.seek(start)
        head = file.read(16)
        if start >= end or len(head) < 8:
            continue
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        length = int.from_bytes(head[8:], "big") if length == 1 else length or end - start
        if length < 8:
            continue
        stack.append((start + length, end, parent))
        if parent == b"stsd":
            yield start
        elif kind in NESTED:
            stack.append((start + NESTED[kind], start + length, kind))


def _clapped(file: BinaryIO, place: int) -> bool:
    """Whether a description has a clean aperture smaller than its frames."""
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
    """Where the numbers of Matroska's crops are, and how many bytes each has."""
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
