"""Detection of the format and of truncation, to the byte."""

import struct
from pathlib import Path

import pytest

from refilm.media import open_video
from refilm.media.containers import CutShortError, kind_of, recognize

from .declaring import gray, write


def box(kind: bytes, content: bytes, length: int | None = None, wide: bool = False) -> bytes:
    """A box of MP4, its length in 32 or in 64 bits."""
    if wide:
        return struct.pack(">I4sQ", 1, kind, length if length is not None else 16 + len(content)) + content
    return struct.pack(">I4s", length if length is not None else 8 + len(content), kind) + content


HEAD = box(b"ftyp", b"isom0000")
MOOV = box(b"moov", bytes(20))


def whole(path: Path, content: bytes) -> bool:
    """Whether a file counts as complete."""
    path.write_bytes(content)
    try:
        recognize(path)
    except CutShortError:
        return False
    return True


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEAD + MOOV + box(b"mdat", bytes(50)), True),
        (HEAD + MOOV + box(b"mdat", bytes(50))[:-1], False),
        (HEAD + box(b"mdat", bytes(50), wide=True) + MOOV, True),
        (HEAD + MOOV + box(b"mdat", bytes(50), wide=True), True),
        (HEAD + MOOV + box(b"mdat", bytes(50), wide=True)[:-1], False),
        (HEAD + MOOV + box(b"mdat", bytes(50), length=2**32 + 60, wide=True), False),
        (HEAD + MOOV + box(b"mdat", bytes(50), length=2**40, wide=True), False),
        (HEAD + MOOV + box(b"mdat", bytes(50), length=0), True),  # to the end of the file
        (HEAD + MOOV + box(b"moof", bytes(8)) + box(b"mdat", bytes(50)), True),
        (HEAD + MOOV + box(b"moof", bytes(8))[:-1], False),
        (HEAD + MOOV + box(b"mdat", bytes(50)) + box(b"free", bytes(9))[:-4], True),  # what is missing does not matter
        (HEAD + MOOV[:-1], False),
        (HEAD + MOOV + box(b"mdat", bytes(50)) + b"\0\0\0\7rest", True),  # no box
    ],
)
def test_boxes_of_mp4(tmp_path, content, expected):
    assert whole(tmp_path / "clip", content) == expected


def test_a_real_file_with_a_length_of_64_bits(tmp_path):
    """FFmpeg leaves eight bytes before the data for it, for files beyond 4 GB."""
    path = write(tmp_path / "clip.mp4", [gray(50 + n) for n in range(8)], codec="libx264", container="mp4")
    content = path.read_bytes()
    place = content.index(b"mdat") - 4
    assert content[place - 8 : place] == b"\0\0\0\x08free"
    (length,) = struct.unpack(">I", content[place : place + 4])
    wide = content[: place - 8] + struct.pack(">I4sQ", 1, b"mdat", length + 8) + content[place + 8 :]
    path.write_bytes(wide)
    assert len(open_video(path).frames) == 8
    (tmp_path / "cut.mp4").write_bytes(wide[: place + length // 2])
    with pytest.raises(CutShortError, match=r"cut\.mp4: truncated, its end is missing; copy, download"):
        open_video(tmp_path / "cut.mp4")


def segment(content: bytes, length: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x84" + bytes(4) + b"\x18\x53\x80\x67" + length + content


@pytest.mark.parametrize("width", range(1, 9))
def test_lengths_of_matroska_of_every_width(tmp_path, width):
    length = ((1 << 7 * width) | 100).to_bytes(width, "big")
    assert whole(tmp_path / "clip", segment(bytes(100), length))
    assert not whole(tmp_path / "clip", segment(bytes(99), length))


@pytest.mark.parametrize("width", range(1, 9))
def test_unknown_lengths_of_matroska_are_those_of_live_recordings(tmp_path, width):
    assert whole(tmp_path / "clip", segment(bytes(3), ((1 << 7 * width + 1) - 1).to_bytes(width, "big")))


def test_avi_and_gif(tmp_path):
    avi = b"RIFF" + struct.pack("<I", 4 + 60) + b"AVI " + bytes(60)
    assert whole(tmp_path / "clip", avi)
    assert not whole(tmp_path / "clip", avi[:-1])
    gif = b"GIF89a" + bytes(range(1, 80)) + b";"
    assert whole(tmp_path / "clip", gif)
    assert whole(tmp_path / "clip", gif + bytes(63))  # padded by zeros
    assert not whole(tmp_path / "clip", gif[:-1])


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x20ftypisom", "mov"),
        (b"\0\0\0\x08wide\0\0\0\0", "mov"),
        (b"\x1a\x45\xdf\xa3aaaaaaaa", "matroska"),
        (b"RIFF\0\0\0\0AVI ", "avi"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"RIFF\0\0\0\0WEBP", None),
        (b"GIF87a\0\0\0\0\0\0", "gif"),
        (b"GIF88a\0\0\0\0\0\0", None),
        (b"ftypisom\0\0\0\0", None),
        (b"", None),
    ],
)
def test_kinds(head, kind):
    assert kind_of(head) == kind
