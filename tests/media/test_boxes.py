"""MP4 files of two kilobytes that would allocate gigabytes before their first frame are refused."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from refilm.media import boxes, open_video
from refilm.media.boxes import assert_plausible

from .declaring import gray, write
from .test_containers import box


def claiming(content: bytes, frames: int) -> bytes:
    """A real file that declares this number of frames, one byte each, in one chunk."""
    changed = bytearray(content)
    numbers = ((b"stsz", 8, 1), (b"stsz", 12, frames), (b"stsc", 16, frames), (b"stts", 12, frames), (b"stts", 16, 1))
    for kind, place, number in numbers:
        start = changed.index(kind) + place
        changed[start : start + 4] = struct.pack(">I", number)
    return bytes(changed)


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_a_file_that_claims_too_many_frames(tmp_path, container):
    path = write(tmp_path / "clip.mp4", [gray(50 + n) for n in range(4)], codec="libx264", container=container)
    assert len(open_video(path).frames) == 4
    path.write_bytes(claiming(path.read_bytes(), 20_000_000))
    with pytest.raises(
        ValueError, match=r"clip\.mp4: declares 20,000,000 frames, more than the limit of 5,000,000; convert it"
    ):
        open_video(path)


def test_a_fragment_that_claims_too_many_frames():
    moof = box(b"moof", box(b"traf", box(b"trun", struct.pack(">II", 0, 20_000_000))))
    with pytest.raises(ValueError, match="declares 20,000,000 frames"):
        assert_plausible(io.BytesIO(moof))
    wide = box(b"moof", box(b"traf", box(b"trun", struct.pack(">II", 0, 20_000_000)), wide=True), wide=True)
    with pytest.raises(ValueError, match="declares 20,000,000 frames"):
        assert_plausible(io.BytesIO(wide))


def test_compressed_indices_and_endless_boxes(monkeypatch):
    with pytest.raises(ValueError, match="its index is compressed"):
        assert_plausible(io.BytesIO(box(b"moov", box(b"cmov", bytes(40)))))
    monkeypatch.setattr(boxes, "MOST", 100)
    assert_plausible(io.BytesIO(box(b"free", b"") * 90))
    with pytest.raises(ValueError, match="more than 100 boxes"):
        assert_plausible(io.BytesIO(box(b"free", b"") * 200))


def test_uncompressed_sound_has_as_many_numbers_as_it_likes(tmp_path, monkeypatch):
    """Each number is a frame there, and 5 million are two minutes."""
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as file:
        stream, sound = file.add_stream("libx264", rate=8), file.add_stream("pcm_s16le", rate=8000, layout="mono")
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(8):
            frame = gray(90 + number)
            frame.pts, frame.time_base = number, Fraction(1, 8)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        samples.rate = 8000
        file.mux(sound.encode(samples))
        file.mux(sound.encode())
    monkeypatch.setattr(boxes, "LONGEST", 1000)
    assert len(open_video(path).frames) == 8
    monkeypatch.setattr(boxes, "LONGEST", 7)
    with pytest.raises(ValueError, match="declares 8 frames"):
        open_video(path)
