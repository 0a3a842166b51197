"""Crops declared by containers are detected, in edited files written by FFmpeg."""

import io
import struct

import numpy as np
import pytest

from refilm.data.checking.declared import declared_by_video
from refilm.media import open_video
from refilm.media.cropping import declares_crop
from refilm.media.inspecting import inspect_video

from .declaring import gray, write

FRAMES = [gray(50 + n) for n in range(4)]  # 64 x 48


def reported(path) -> bool:
    assert open_video(path).frames.shape == (4, 48, 64, 3)
    part = inspect_video(path)
    found = [one.kind for one in declared_by_video(path, part)]
    assert found == (["size"] if part.cropped else [])
    return part.cropped


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize(
    ("aperture", "crops"),
    [((64, 1, 48, 1), False), ((128, 2, 96, 2), False), ((63, 1, 48, 1), True), ((64, 1, 47, 1), True)],
)
def test_clean_apertures_of_mp4(tmp_path, container, aperture, crops):
    path = write(tmp_path / "clip", FRAMES, codec="libx264", container=container)
    content = bytearray(path.read_bytes())
    clap = struct.pack(">I4s8I", 40, b"clap", *aperture, 0, 1, 0, 1)
    assert not reported(path)
    entry = content.index(b"avc1", content.index(b"stsd")) - 4
    (length,) = struct.unpack(">I", content[entry : entry + 4])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = content.index(name, content.index(b"moov") if name != b"avc1" else entry) - 4
        content[place : place + 4] = struct.pack(">I", struct.unpack(">I", content[place : place + 4])[0] + 40)
    content[entry + length : entry + length] = clap  # moov is behind the data, whose place stays
    path.write_bytes(content)
    assert reported(path) == crops


@pytest.mark.parametrize(("name", "value"), [(0x54AA, 2), (0x54BB, 2), (0x54CC, 1), (0x54DD, 3), (0x54AA, 0)])
def test_crops_of_matroska(tmp_path, name, value):
    path = write(tmp_path / "clip", FRAMES, codec="libx264")
    assert not reported(path)
    content = path.read_bytes()
    video = content.index(b"\xe0\x8a\xb0\x81\x40\xba\x81\x30")  # ten bytes: PixelWidth 64, PixelHeight 48, ...
    void = b"\xec\x01\0\0\0\0\0\0\2\0\0"  # of which five bytes are taken
    assert content.count(void, video) == 1
    crop = struct.pack(">HBH", name, 0x82, value)
    head, inside, rest = content[:video], content[video + 2 : video + 12], content[video + 12 :]
    path.write_bytes(head + b"\xe0\x8f" + inside + crop + rest.replace(void, b"\xec\x84\0\0\0\0", 1))
    assert reported(path) == (value > 0)


@pytest.mark.parametrize("kind", ["mov", "matroska"])
def test_any_bytes_are_gone_through_in_time(kind):
    for seed in range(20):
        content = np.random.default_rng(seed).integers(0, 256, 4000, dtype=np.uint8).tobytes()
        for head in (b"", struct.pack(">I4s", 4008, b"moov"), b"\x18\x53\x80\x67\xff\x16\x54\xae\x6b\xff"):
            assert declares_crop(io.BytesIO(head + content), kind) in (True, False)
    nested = b"".join(struct.pack(">I4s", 8 * (9999 - n), b"moov") for n in range(9999))
    assert not declares_crop(io.BytesIO(nested), "mov")
    assert not declares_crop(io.BytesIO(b"\xae\xff" * 50_000), "matroska")
