"""Detect a video file's format and whether it is complete, from its content and not from its name.

FFmpeg's own detection includes playlists: for a text file named clip.mp4 it would open the files listed there. So the
format is detected here and passed to FFmpeg. Does not decode frames.
"""

import os
from pathlib import Path
from typing import BinaryIO, Literal

from refilm.errors import UserError

Format = Literal["mov", "matroska", "avi", "gif"]

MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
EBML_SEGMENT = b"\x18\x53\x80\x67"


class CutShortError(UserError):
    """A file is shorter than it declares."""


def recognize(path: Path) -> Format:
    """FFmpeg's name of a video file's format.

    Raises:
        UserError: the file does not exist, is a folder, is empty, has no supported video format, or is truncated
            (`CutShortError`).
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; use the path of a video")
    if not path.is_file():
        raise UserError(f"{path}: no such file; use the path of a video")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        kind = kind_of(file.read(12))
        if kind is None:
            wanted = "MP4, MOV, MKV, WebM, AVI or GIF"
            raise UserError(
                f"{path}: {'' if size else 'empty, '}not a video in a supported format ({wanted}); convert it"
            )
        if _cut_short(file, kind, size):
            raise CutShortError(f"{path}: truncated, its end is missing; copy, download or export it again")
    return kind


def kind_of(head: bytes) -> Format | None:
    """The format that a file's first twelve bytes indicate."""
    if head[4:8] in MOV_BOXES:
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    return "gif" if head[:6] in (b"GIF87a", b"GIF89a") else None


def _cut_short(file: BinaryIO, kind: Format, size: int) -> bool:
    """Whether the file declares that it is longer than `size` bytes."""
    if kind == "mov":
        return _mov_end(file, size) > size
    if kind == "matroska":
        return _matroska_end(file) > size
    if kind == "avi":
        file.seek(4)
        return 8 + int.from_bytes(file.read(4), "little") > size
    file.seek(-min(size, 64), os.SEEK_END)
    return not file.read().rstrip(b"\0").endswith(b";")


def _mov_end(file: BinaryIO, size: int) -> int:
    """The end of the last relevant box. A box consists of its length, 4 letters, and content."""
    start = end = 0
    while start < size:
        file.seek(start)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if head[4:8] in (b"moov", b"moof", b"mdat"):
            end = start + length
        if length < 8:  # 0: to the end of the file; otherwise invalid
            break
        start += length
    return end


def _matroska_end(file: BinaryIO) -> int:
    """The end of the segment, or 0 for one of unknown length, as in live recordings."""
    file.seek(4)
    file.seek(variable_length(file), os.SEEK_CUR)
    if file.read(4) != EBML_SEGMENT:
        return 0
    length = variable_length(file)
    return file.tell() + length if length >= 0 else 0


def variable_length(file: BinaryIO) -> int:
    """Read an EBML variable-length integer (RFC 8794, section 4); -1 means "unknown" (all ones)."""
    first = file.read(1)
    if not first or not first[0]:
        return -1
    following = 8 - first[0].bit_length()
    bits = 7 * (following + 1)
    value = int.from_bytes(first + file.read(following), "big") & ((1 << bits) - 1)
    return -1 if value == (1 << bits) - 1 else value
