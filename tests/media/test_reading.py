"""Reading videos that others made: turned, stretched, cut short, or no videos at all."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.media import Video, open_video, reading


def ramp(frames: int = 40, height: int = 64, width: int = 96) -> np.ndarray:
    """Each frame has a gray of its own, each corner a color of its own."""
    film = np.empty((frames, height, width, 3), dtype=np.uint8)
    film[:] = (20 + 5 * np.arange(frames))[:, None, None, None]
    film[:, :32, :32], film[:, :32, -32:], film[:, -32:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return film


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


def numbers(film: Video) -> list[int]:
    """Which frames of `ramp` these are."""
    return ((film.frames[:, 40:60, 40:60].mean(axis=(1, 2, 3)) - 20) / 5).round().astype(int).tolist()


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
    path = encode(tmp_path / "film.misnamed", ramp(), container, codec)
    film = open_video(path)
    assert numbers(film) == list(range(40))
    assert film.fps == 8
    assert numbers(open_video(path, start=2, end=3.5)) == list(range(16, 28))


@pytest.fixture(scope="module", params=["mp4", "matroska"])
def long_film(request, tmp_path_factory):
    return encode(tmp_path_factory.mktemp("films") / "film", ramp(), request.param)


@given(span=st.lists(st.integers(0, 40), min_size=2, max_size=2, unique=True).map(sorted))
def test_parts_are_exact(long_film, span):
    first, last = span
    assert numbers(open_video(long_film, start=first / 8, end=last / 8)) == list(range(first, last))


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ({"degrees": 90}, lambda film: np.rot90(film, 1, axes=(1, 2))),
        ({"degrees": -90}, lambda film: np.rot90(film, -1, axes=(1, 2))),
        ({"degrees": 180}, lambda film: np.rot90(film, 2, axes=(1, 2))),
        ({"degrees": 0, "hflip": True}, lambda film: film[:, :, ::-1]),
    ],
)
def test_films_are_turned_upright(tmp_path, turn, expected):
    raw = open_video(encode(tmp_path / "raw.mp4", ramp(3))).frames
    turned = open_video(encode(tmp_path / "turned.mp4", ramp(3), **turn)).frames
    assert np.array_equal(turned, expected(raw))


def test_pixels_are_made_square(tmp_path):
    assert open_video(encode(tmp_path / "wide.mp4", ramp(2), aspect=2)).frames.shape == (2, 64, 192, 3)


def test_titles_in_old_encodings_do_no_harm(tmp_path):
    with av.open(str(tmp_path / "film.mp4"), "w") as file:
        file.metadata["title"] = "Caf?"
        stream = file.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        file.mux([*stream.encode(av.VideoFrame.from_ndarray(ramp(1)[0])), *stream.encode()])
    latin = (tmp_path / "film.mp4").read_bytes().replace(b"Caf?", "Café".encode("latin-1"))
    (tmp_path / "film.mp4").write_bytes(latin)
    assert len(open_video(tmp_path / "film.mp4").frames) == 1


LIST = "ffconcat version 1.0\nfile secret.mp4\n"


def test_a_list_of_other_files_named_mp4_is_refused_unopened(tmp_path, monkeypatch):
    encode(tmp_path / "secret.mp4", ramp(3))
    trap = tmp_path / "trap.mp4"
    trap.write_text(LIST)
    with av.open(str(trap)) as container:  # FFmpeg, left to guess, reads the other file
        assert len(list(container.decode(video=0))) == 3
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("FFmpeg must not see it"))
    with pytest.raises(ValueError, match=r"trap\.mp4: not a video of these formats: MP4, .*; convert it"):
        open_video(trap)


@pytest.mark.parametrize("head", [b"\0\0\0\x20ftypisom", b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI ", b"GIF89a"])
def test_a_list_in_disguise_is_read_as_what_it_claims_to_be(tmp_path, head):
    encode(tmp_path / "secret.mp4", ramp(3))
    (tmp_path / "trap.mp4").write_bytes(head + b"\n" + LIST.encode() + b"#EXTM3U\nsecret.mp4\n;")
    with pytest.raises(ValueError, match=r"trap\.mp4: (damaged|has)"):
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
    with pytest.raises(ValueError, match=r"cut: (cut short|damaged)"):
        open_video(cut)


def test_moov_first_cut_at_a_frame_is_noticed(tmp_path):
    """FFmpeg alone would return the frames that are left and say nothing."""
    Video(ramp(), 8).save(tmp_path / "film.mp4", scale=1)
    with av.open(str(tmp_path / "film.mp4")) as container:
        third = [packet.pos for packet in container.demux(video=0) if packet.size][3]
    data = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "film.mp4").write_bytes(data[:third])
    with pytest.raises(ValueError, match="cut short, its end is missing; copy"):
        open_video(tmp_path / "film.mp4")


def test_what_is_no_video_says_so(tmp_path):
    (tmp_path / "text.mp4").write_text("a film about a text, in words")
    (tmp_path / "empty.mp4").touch()
    encode(tmp_path / "film.mp4", ramp(4))
    alien = (tmp_path / "film.mp4").read_bytes().replace(b"avc1", b"zzzz")
    (tmp_path / "alien.mp4").write_bytes(alien)
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        file.mux([*stream.encode(sound), *stream.encode()])
    for name, complaint in {
        "text.mp4": "not a video",
        "empty.mp4": "empty, no video",
        "alien.mp4": "codec unknown here",
        "sound.mp4": "sound or text but no frames",
        "absent.mp4": "no such file",
        ".": "is a folder",
    }.items():
        with pytest.raises(ValueError, match=complaint) as caught:
            open_video(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_impossible_parts_say_so(tmp_path):
    path = encode(tmp_path / "film.mp4", ramp(8))
    for start, end in ((-1, None), (1, 1), (float("nan"), None), (2, 1)):
        with pytest.raises(ValueError, match=f"0 <= start < end, received {start} and {end}"):
            open_video(path, start=start, end=end)
    with pytest.raises(ValueError, match="no frames between 60 s and inf s"):
        open_video(path, start=60)


def test_more_frames_than_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 5 * 64 * 96 * 3)
    path = encode(tmp_path / "film.mp4", ramp(8))
    with pytest.raises(ValueError, match="read a part of it, with start and end"):
        open_video(path)
    assert len(open_video(path, end=0.5).frames) == 4
