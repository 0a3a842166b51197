"""Reading videos from other programs: rotated, stretched, truncated, or not videos at all."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refilm.media import Video, duration, open_frames, open_video, reading


def ramp(frames: int = 40, height: int = 64, width: int = 96) -> np.ndarray:
    """Each frame has a gray of its own, each corner a color of its own."""
    video = np.empty((frames, height, width, 3), dtype=np.uint8)
    video[:] = (20 + 5 * np.arange(frames))[:, None, None, None]
    video[:, :32, :32], video[:, :32, -32:], video[:, -32:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return video


def encode(path, frames, container="mp4", codec="libx264", aspect=None, **turn):
    """A video as other programs write it: a key frame in every five, frames out of order."""
    options = {"g": "5", "bf": "3", "crf": "10"} if codec == "libx264" else {"g": "5"}
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=8, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        if codec == "mpeg4":
            stream.bit_rate = 4_000_000
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(**turn)
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(stream.encode())
    return path


def numbers(video: Video) -> list[int]:
    """Which frames of `ramp` these are."""
    return ((video.frames[:, 40:60, 40:60].mean(axis=(1, 2, 3)) - 20) / 5).round().astype(int).tolist()


CONTAINERS = [
    ("mp4", "libx264"),
    ("mov", "libx264"),
    ("matroska", "libx264"),
    ("webm", "libvpx"),
    ("avi", "mpeg4"),
    ("avi", "libx264"),
]


@pytest.mark.parametrize(("container", "codec"), CONTAINERS)
def test_containers_are_known_by_content(tmp_path, container, codec):
    path = encode(tmp_path / "video.misnamed", ramp(), container, codec)
    video = open_video(path)
    assert numbers(video) == list(range(40))
    assert video.fps == 8
    assert numbers(open_video(path, start=2, end=3.5)) == list(range(16, 28))


@pytest.fixture(scope="module", params=["mp4", "matroska"])
def long_video(request, tmp_path_factory):
    return encode(tmp_path_factory.mktemp("videos") / "video", ramp(), request.param)


@given(span=st.lists(st.integers(0, 40), min_size=2, max_size=2, unique=True).map(sorted))
def test_parts_are_exact(long_video, span):
    first, last = span
    assert numbers(open_video(long_video, start=first / 8, end=last / 8)) == list(range(first, last))


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ({"degrees": 90}, lambda video: np.rot90(video, 1, axes=(1, 2))),
        ({"degrees": -90}, lambda video: np.rot90(video, -1, axes=(1, 2))),
        ({"degrees": 180}, lambda video: np.rot90(video, 2, axes=(1, 2))),
        ({"degrees": 0, "hflip": True}, lambda video: video[:, :, ::-1]),
    ],
)
def test_videos_are_turned_upright(tmp_path, turn, expected):
    raw = open_video(encode(tmp_path / "raw.mp4", ramp(3))).frames
    turned = open_video(encode(tmp_path / "turned.mp4", ramp(3), **turn)).frames
    assert np.array_equal(turned, expected(raw))


def test_pixels_are_made_square(tmp_path):
    assert open_video(encode(tmp_path / "wide.mp4", ramp(2), aspect=2)).frames.shape == (2, 64, 192, 3)


def test_titles_in_old_encodings_do_no_harm(tmp_path):
    with av.open(str(tmp_path / "video.mp4"), "w") as file:
        file.metadata["title"] = "Caf?"
        stream = file.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        file.mux([*stream.encode(av.VideoFrame.from_ndarray(ramp(1)[0])), *stream.encode()])
    latin = (tmp_path / "video.mp4").read_bytes().replace(b"Caf?", "Café".encode("latin-1"))
    (tmp_path / "video.mp4").write_bytes(latin)
    assert len(open_video(tmp_path / "video.mp4").frames) == 1


LIST = "ffconcat version 1.0\nfile secret.mp4\n"


def test_a_list_of_other_files_named_mp4_is_refused_unopened(tmp_path, monkeypatch):
    encode(tmp_path / "secret.mp4", ramp(3))
    trap = tmp_path / "trap.mp4"
    trap.write_text(LIST)
    with av.open(str(trap)) as container:  # FFmpeg, left to guess, reads the other file
        assert len(list(container.decode(video=0))) == 3
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("FFmpeg must not see it"))
    with pytest.raises(ValueError, match=r"trap\.mp4: not a video in a supported format \(MP4, .*; convert it"):
        open_video(trap)


@pytest.mark.parametrize("head", [b"\0\0\0\x20ftypisom", b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI ", b"GIF89a"])
def test_a_list_in_disguise_is_read_as_what_it_claims_to_be(tmp_path, head):
    encode(tmp_path / "secret.mp4", ramp(3))
    (tmp_path / "trap.mp4").write_bytes(head + b"\n" + LIST.encode() + b"#EXTM3U\nsecret.mp4\n;")
    with pytest.raises(ValueError, match=r"trap\.mp4: (damaged|has|contains sound)"):
        open_video(tmp_path / "trap.mp4")


@pytest.mark.parametrize(("container", "codec"), [*CONTAINERS, ("gif", "")])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.9, 0.999])
def test_cut_short(tmp_path, container, codec, kept):
    whole, cut = tmp_path / "whole.gif", tmp_path / "cut"
    if container == "gif":
        Video(ramp(), 8).save(whole)
    else:
        encode(whole, ramp(), container, codec)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ValueError, match=r"cut: (truncated|damaged)"):
        open_video(cut)


def test_moov_first_cut_at_a_frame_is_noticed(tmp_path):
    """FFmpeg alone would return the remaining frames without an error."""
    Video(ramp(), 8).save(tmp_path / "video.mp4", scale=1)
    with av.open(str(tmp_path / "video.mp4")) as container:
        third = [packet.pos for packet in container.demux(video=0) if packet.size][3]
    data = (tmp_path / "video.mp4").read_bytes()
    (tmp_path / "video.mp4").write_bytes(data[:third])
    with pytest.raises(ValueError, match="truncated, its end is missing; copy"):
        open_video(tmp_path / "video.mp4")


def test_what_is_no_video_says_so(tmp_path):
    (tmp_path / "text.mp4").write_text("a video about a text, in words")
    (tmp_path / "empty.mp4").touch()
    encode(tmp_path / "video.mp4", ramp(4))
    alien = (tmp_path / "video.mp4").read_bytes().replace(b"avc1", b"zzzz")
    (tmp_path / "alien.mp4").write_bytes(alien)
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        file.mux([*stream.encode(sound), *stream.encode()])
    for name, complaint in {
        "text.mp4": "not a video",
        "empty.mp4": "empty, not a video",
        "alien.mp4": "codec is not supported",
        "sound.mp4": "sound or text but no video stream",
        "absent.mp4": "no such file",
        ".": "is a folder",
    }.items():
        with pytest.raises(ValueError, match=complaint) as caught:
            open_video(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_impossible_parts_say_so(tmp_path):
    path = encode(tmp_path / "video.mp4", ramp(8))
    for start, end in ((-1.0, None), (1.0, 1.0), (float("nan"), None), (2.0, 1.0)):
        with pytest.raises(ValueError, match=f"0 <= start < end, received {start} and {end}"):
            open_video(path, start=start, end=end)
    with pytest.raises(ValueError, match="no frames between 60 s and inf s"):
        open_video(path, start=60)


def test_more_frames_than_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 5 * 64 * 96 * 3)
    path = encode(tmp_path / "video.mp4", ramp(8))
    with pytest.raises(ValueError, match="read a part of it with start and end"):
        open_video(path)
    assert len(open_video(path, end=0.5).frames) == 4


# --- single frames -----------------------------------------------------------------------------------


def plain_frames(path, seconds) -> list[tuple[float, np.ndarray]]:
    """The reference implementation of `open_frames`, which decodes everything."""
    frames = open_video(path).frames
    kind = "avi" if path.name.startswith("avi") else None
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        times = [n / rate if kind else frame.time for n, frame in enumerate(container.decode(video=0))]
    times = np.array(times) - times[0]
    nearest = [int(np.abs(times - second).argmin()) for second in seconds]
    return [(times[n], frames[n]) for n in nearest]


def variable(path, frames, stamps) -> Path:
    """A video whose frames come at `stamps`, in hundredths of a second."""
    with av.open(str(path), "w", format="matroska") as file:
        stream = file.add_stream("libx264", rate=8, options={"g": "5", "bf": "3"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for pixels, stamp in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = stamp, Fraction(1, 100)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("videos")
    stamps = np.random.default_rng(0).choice(np.arange(1500), 40, replace=False)
    Video(ramp(), 8).save(home / "video.gif", scale=1)
    return {
        "mp4": encode(home / "mp4", ramp()),
        "matroska": encode(home / "matroska", ramp(), "matroska"),
        "avi": encode(home / "avi", ramp(), "avi", "mpeg4"),
        "gif": home / "video.gif",
        "turned": encode(home / "turned", ramp(), degrees=90),
        "variable": variable(home / "variable", ramp(), sorted(int(stamp) for stamp in stamps)),
    }


@pytest.mark.parametrize("kind", ["mp4", "matroska", "avi", "gif", "turned", "variable"])
@given(seconds=st.lists(st.floats(0, 18), min_size=1, max_size=4))
@settings(max_examples=15)
def test_single_frames_are_those_of_the_whole(videos, kind, seconds):
    found = open_frames(videos[kind], seconds)
    for (time, frame), (true_time, true_frame) in zip(found, plain_frames(videos[kind], seconds), strict=True):
        assert time == pytest.approx(true_time)
        assert np.array_equal(frame, true_frame)


def test_single_frames_are_sought(videos, monkeypatch):
    """The last second of a video is read without what comes before."""
    decoded = []
    timed = reading.timed_frames
    monkeypatch.setattr(
        reading, "timed_frames", lambda *given: (decoded.append(pair[0]) or pair for pair in timed(*given))
    )
    open_frames(videos["mp4"], [4.8])
    assert min(decoded) >= 3
    assert open_frames(videos["mp4"], []) == []


@pytest.mark.parametrize("kind", ["mp4", "matroska", "avi", "gif", "variable"])
def test_durations(videos, kind):
    last = plain_frames(videos[kind], [99])[0][0]
    assert last < duration(videos[kind]) < last + 0.5


@pytest.mark.parametrize("kind", ["mp4", "avi", "gif", "turned"])
@pytest.mark.parametrize(("start", "frames"), [(None, 1), (None, 7), (2.5, 3), (4, 99)])
def test_the_first_frames_alone(videos, kind, start, frames):
    whole, few = open_video(videos[kind], start=start), open_video(videos[kind], start=start, frames=frames)
    assert np.array_equal(few.frames, whole.frames[:frames])


def test_impossible_frames_say_so(videos, tmp_path):
    with pytest.raises(ValueError, match="seconds of frames must be 0 or more, received"):
        open_frames(videos["mp4"], [1, -1])
    with pytest.raises(ValueError, match="frames must be 1 or more, received 0"):
        open_video(videos["mp4"], frames=0)
    with pytest.raises(ValueError, match="absent: no such file"):
        duration(tmp_path / "absent")
