"""Metadata is reported where applying it has a cost, and only there."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from refilm.media import open_video

from ...media.declaring import gray, write
from ...media.test_fields import interlaced
from .checks import checked


def findings(home, name):
    """The findings of a clip, kinds and messages, except for its size and missing reference."""
    (home / "clips.jsonl").write_text(f'{{"video": "{name}", "caption": "a dog runs", "references": []}}\n')
    (clip,) = checked(home / "clips.jsonl").clips
    return {one.kind: one.message for one in clip.findings if one.kind not in ("no reference", "size", "short", "rate")}


def reported(home, name, kind) -> str:
    found = findings(home, name)
    assert set(found) == {kind}
    return found[kind].removeprefix(str(home / name) + ": ")


def test_nothing_is_reported_of_a_plain_clip(tmp_path):
    write(tmp_path / "1.mp4", [gray(90 + n) for n in range(12)], codec="libx264", container="mp4")
    assert findings(tmp_path, "1.mp4") == {}


def test_interlaced(tmp_path):
    interlaced(tmp_path / "1.mp4", "libx264", "mp4", True)
    assert reported(tmp_path, "1.mp4", "interlaced").startswith("is interlaced; it is deinterlaced with bwdif")


@pytest.mark.parametrize(
    ("transfer", "primaries", "message"),
    [
        (
            16,
            9,
            "is HDR (PQ, BT.2020); it is tone-mapped to SDR with compressed highlights; if they matter",
        ),
        (18, 9, "is HDR (HLG, BT.2020); it is tone-mapped to SDR"),
        (8, 1, "uses the transfer function linear, BT.709, which is converted to sRGB"),
    ],
)
def test_colors(tmp_path, transfer, primaries, message):
    frames = [gray(400 + 9 * n, bits=10, transfer=transfer, primaries=primaries, matrix=9) for n in range(12)]
    write(tmp_path / "1.mkv", frames)
    assert reported(tmp_path, "1.mkv", "color").startswith(message)


def test_wide_gamuts_of_sdr_are_converted_without_a_warning(tmp_path):
    write(tmp_path / "1.mkv", [gray(90 + 9 * n, transfer=1, primaries=12, matrix=1) for n in range(12)])
    assert findings(tmp_path, "1.mkv") == {}
    (clip,) = checked(tmp_path / "clips.jsonl").clips
    assert "Display P3" in clip.facts


def test_transparent(tmp_path):
    frames = [Image.new("RGBA", (64, 48), (0, 0, 0, 0)) for _ in range(12)]
    for number, frame in enumerate(frames):
        frame.paste((200, 10 * number, 0, 255), (4 * number, 8, 4 * number + 9, 30))
    frames[0].save(tmp_path / "1.gif", save_all=True, append_images=frames[1:], duration=120, disposal=2)
    assert reported(tmp_path, "1.gif", "transparent").startswith("has transparent parts, which are read on white")


def test_empty_places_of_avi_are_no_missing_frames(tmp_path):
    frames = [gray(90 + 5 * n).reformat(format="yuvj420p") for n in range(12)]
    write(tmp_path / "1.avi", frames, codec="mjpeg", container="avi", places=[*range(6), *range(10, 16)])
    assert reported(tmp_path, "1.avi", "variable rate")


def test_two_eyes(tmp_path):
    frames = [gray(90 + n) for n in range(12)]
    write(tmp_path / "1.mkv", frames, codec="libx264", metadata={"stereo_mode": "left_right"})
    assert reported(tmp_path, "1.mkv", "spatial").startswith("is stereoscopic (side by side) and read as one")


def two_streams(path, default: int):
    """Dark and bright frames, one stream each; one of them is the default."""
    with av.open(str(path), "w") as file:
        streams = [file.add_stream("libx264", rate=8) for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
        for number in range(12):
            for stream, luma in zip(streams, (40, 200), strict=True):
                frame = gray(luma + number)
                frame.pts, frame.time_base = number, Fraction(1, 8)
                file.mux(stream.encode(frame))
        for stream in streams:
            file.mux(stream.encode())
    return path


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_streams_that_of_players_is_read(tmp_path, default):
    path = two_streams(tmp_path / "1.mkv", default)
    assert (open_video(path).frames.mean() > 128) == (default == 1)
    assert reported(tmp_path, "1.mkv", "streams").startswith("has 2 video streams, of which only one is read; keep the")


def test_a_cover_is_no_stream(tmp_path):
    with av.open(str(tmp_path / "1.mp4"), "w") as file:
        cover = file.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = file.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        for number in range(12):
            file.mux(stream.encode(gray(90 + number)))
        file.mux(stream.encode())
    assert open_video(tmp_path / "1.mp4").frames.shape == (12, 48, 64, 3)
    assert findings(tmp_path, "1.mp4") == {}


def test_pixels_of_an_absurd_shape(tmp_path):
    frames = [gray(90 + n) for n in range(12)]
    write(tmp_path / "1.mp4", frames, codec="libx264", container="mp4", aspect=Fraction(10))
    assert open_video(tmp_path / "1.mp4").frames.shape[1:3] == (48, 64)
    (clip,) = checked_with_size(tmp_path)
    assert any(
        "declares an implausible pixel aspect ratio of 10, which is ignored" in one.message for one in clip.findings
    )


def checked_with_size(home):
    (home / "clips.jsonl").write_text('{"video": "1.mp4", "caption": "a dog runs", "references": []}\n')
    return checked(home / "clips.jsonl").clips


def test_a_frame_that_is_shown_black_is_not_reported_of(tmp_path):
    frames = [gray(16) for _ in range(12)]
    write(tmp_path / "1.mp4", frames, codec="libx264", container="mp4")
    assert np.array_equal(open_video(tmp_path / "1.mp4").frames[0, 0, 0], [0, 0, 0])
