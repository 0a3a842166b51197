"""Videos saved and read again: losses of a format are bounded, everything else must be equal."""

import base64
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from refilm.media import Video, open_video


def drift(frames: int, height: int, width: int) -> np.ndarray:
    """Smooth colors that wander: no two frames are equal."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    waves = [np.sin(x / 17 + t / 3), np.cos(y / 19 - t / 4), np.sin((x + y) / 23 + t / 2)]
    return (127 + 110 * np.stack(waves, axis=-1)).round().astype(np.uint8)


def blocks(frames: int = 5, side: int = 12) -> np.ndarray:
    """Pixel art of strong colors."""
    palette = np.random.default_rng(0).integers(0, 256, (30, 3), dtype=np.uint8)
    return palette[np.random.default_rng(1).integers(0, 30, (frames, side, side))]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize("fps", [8, 29.97, 0.5])
def test_mp4_keeps_the_video(tmp_path, fps):
    video = Video(drift(17, 288, 352), fps)
    assert video.save(tmp_path / "video.mp4") == [tmp_path / "video.mp4"]
    again = open_video(tmp_path / "video.mp4")
    assert again.frames.shape == video.frames.shape
    assert again.fps == pytest.approx(fps)
    assert psnr(again.frames, video.frames) > 40
    assert abs(np.mean(again.frames.astype(float) - video.frames)) < 0.5  # nothing darkens
    head = (tmp_path / "video.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # plays before all of it has come


def test_small_videos_are_enlarged_without_smoothing(tmp_path):
    art = blocks()
    Video(art, 8).save(tmp_path / "video.mp4")
    again = open_video(tmp_path / "video.mp4").frames
    assert again.shape == (5, 264, 264, 3)
    cores = again.reshape(5, 12, 22, 12, 22, 3)[:, :, 4:-4, :, 4:-4]
    assert np.abs(cores.astype(int) - art[:, :, None, :, None]).max() < 16


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40))
def test_any_size_survives_mp4_but_for_the_pixel_that_makes_it_even(frames, height, width):
    video = Video(drift(frames, height, width), 8)
    with tempfile.TemporaryDirectory() as folder:
        video.save(Path(folder) / "video.mp4", scale=1)
        again = open_video(Path(folder) / "video.mp4")
    assert again.fps == 8
    assert again.frames.shape == (frames, height + height % 2, width + width % 2, 3)
    assert psnr(again.frames[:, :height, :width], video.frames) > 30


def test_an_odd_side_repeats_its_edge(tmp_path):
    Video(drift(3, 301, 259), 8).save(tmp_path / "video.mp4")
    frames = open_video(tmp_path / "video.mp4").frames.astype(int)
    assert frames.shape == (3, 302, 260, 3)
    assert np.abs(frames[:, -1] - frames[:, -2]).max() < 16
    assert np.abs(frames[:, :, -1] - frames[:, :, -2]).max() < 16


def test_gif_of_few_colors_is_exact_loops_and_keeps_time(tmp_path):
    art = blocks(frames=8)
    art[4] = art[3]  # equal frames become one, shown longer
    Video(art, 8).save(tmp_path / "video.gif", scale=2)
    with Image.open(tmp_path / "video.gif") as gif:
        assert gif.info["loop"] == 0
        seen, durations = [], []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
            seen.append(np.asarray(gif.convert("RGB")))
    assert np.array_equal(np.stack(seen), np.delete(art, 4, axis=0).repeat(2, axis=1).repeat(2, axis=2))
    assert sum(durations) == 1000
    assert durations[3] in (240, 250, 260)


def test_gif_of_many_colors_stays_close_and_fast_ones_skip_frames(tmp_path):
    video = Video(drift(12, 260, 256), 100)
    video.save(tmp_path / "video.gif")
    again = open_video(tmp_path / "video.gif")
    assert again.fps == 50
    assert again.frames.shape == (6, 260, 256, 3)
    seen, meant = (video.reshape(6, 65, 4, 64, 4, 3).mean(axis=(2, 4)) for video in (again.frames, video.frames[::2]))
    assert psnr(seen, meant) > 30  # dots of the palette's colors mix to the right one


def test_png_writes_numbered_frames_exactly(tmp_path):
    art = blocks()
    paths = Video(art, 8).save(str(tmp_path / "video.png"))
    assert [path.name for path in paths] == [f"video-{number:03}.png" for number in range(5)]
    assert sorted(tmp_path.iterdir()) == paths
    assert np.array_equal(np.stack([np.asarray(Image.open(path)) for path in paths]), art)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "video.gif"
    target.write_bytes(b"the old video")
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Video(blocks(), 8).save(target)
    assert target.read_bytes() == b"the old video"
    assert list(tmp_path.iterdir()) == [target]


def test_names_that_ffmpeg_would_take_for_protocols_or_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b.mp4", "50%03d.mp4", "-y ü.MP4"):
        Video(blocks(), 8).save(name)
        assert len(open_video(name).frames) == 5


@pytest.mark.parametrize(
    ("name", "scale", "complaint"),
    [
        ("video.mov", None, r"\.mov; use \.mp4, \.webm, \.gif, \.webp or \.png"),
        ("video", None, "without suffix"),
        ("absent/video.mp4", None, "the folder .*absent does not exist"),
        ("video.mp4", 0, "scale must be an integer from 1 to 64, received 0"),
        ("video.mp4", 1.5, "received 1.5"),
        ("video.mp4", True, "received True"),
        ("video.mp4", "2", "received '2'"),
        ("video.gif", 65, "received 65"),
    ],
)
def test_impossible_saves_say_so(tmp_path, name, scale, complaint):
    with pytest.raises(ValueError, match=complaint):
        Video(blocks(), 8).save(tmp_path / name, scale=scale)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "fps", "complaint"),
    [
        (np.zeros((2, 4, 4, 3)), 8, r"received \(2, 4, 4, 3\) of float64"),
        (np.zeros((2, 3, 4, 4), np.uint8), 8, r"received \(2, 3, 4, 4\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), 8, r"received \(0, 4, 4, 3\)"),
        ([[[0, 0, 0]]], 8, "received list"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, "fps .* received 0"),
        (np.zeros((2, 4, 4, 3), np.uint8), float("nan"), "received nan"),
    ],
)
def test_nonsense_is_refused_when_made(frames, fps, complaint):
    with pytest.raises(ValueError, match=complaint):
        Video(frames, fps)


def test_contact_sheet_reads_like_a_page():
    art = blocks(frames=5)
    sheet = np.asarray(Video(art, 8).contact_sheet(columns=3))
    assert sheet.shape == (24, 36, 3)
    assert np.array_equal(sheet[:12, 24:], art[2])
    assert np.array_equal(sheet[12:, :12], art[3])
    assert (sheet[12:, 24:] == 255).all()


def test_notebooks_show_the_video():
    html = Video(blocks(), 8)._repr_html_()
    assert base64.b64decode(html.split("base64,")[1].split('"')[0])[4:8] == b"ftyp"


def test_it_is_a_sequence_of_its_frames():
    video = Video(blocks(frames=6), 8)
    assert len(video) == 6
    assert np.array_equal(video[-1], video.frames[5])
    assert np.array_equal(np.stack(list(video)), video.frames)
    part = video[1:5:2]
    assert (len(part), part.fps) == (2, 4)  # as long as the four frames it is of
    assert np.array_equal(part.frames, video.frames[[1, 3]])
    back = video[::-1]
    assert (back.fps, np.array_equal(back[0], video[5])) == (8, True)
    with pytest.raises(IndexError):
        video[6]
    with pytest.raises(TypeError):
        video["first"]
    with pytest.raises(ValueError, match=r"received \(0, 12, 12, 3\)"):
        video[3:3]


def test_other_libraries_get_its_frames():
    video = Video(drift(3, 20, 30), 8)
    images = video.to_pil()
    assert [image.size for image in images] == [(30, 20)] * 3
    assert np.array_equal(np.asarray(images[2]), video[2])
    tensor = video.to_tensor()
    assert (tuple(tensor.shape), str(tensor.dtype)) == ((3, 3, 20, 30), "torch.float32")
    assert np.array_equal((tensor * 255).round().byte().numpy().transpose(0, 2, 3, 1), video.frames)
    assert 0 <= tensor.min() < tensor.max() <= 1
    tensor.zero_()
    assert video.frames.max() > 0  # a copy


@pytest.mark.parametrize("fps", [8, 29.97])
def test_webm_keeps_the_video(tmp_path, fps):
    video = Video(drift(17, 288, 352), fps)
    video.save(tmp_path / "video.webm")
    with av.open(str(tmp_path / "video.webm")) as file:
        assert file.streams.video[0].codec_context.name == "vp9"
    again = open_video(tmp_path / "video.webm")
    assert again.frames.shape == video.frames.shape
    assert again.fps == pytest.approx(fps, rel=1e-3)
    assert psnr(again.frames, video.frames) > 38
    assert abs(np.mean(again.frames.astype(float) - video.frames)) < 0.5


def test_webp_of_pixel_art_is_exact_loops_and_keeps_time(tmp_path):
    Video(blocks(frames=7), 30).save(tmp_path / "video.webp", scale=2)
    seen, times = [], []
    with Image.open(tmp_path / "video.webp") as file:
        assert (file.info["loop"], file.n_frames) == (0, 7)
        for number in range(7):
            file.seek(number)
            file.load()
            seen.append(np.asarray(file.convert("RGB")))
            times.append(file.info["duration"])
    assert np.array_equal(np.stack(seen), blocks(frames=7).repeat(2, axis=1).repeat(2, axis=2))
    assert times == [33, 34, 33, 33, 34, 33, 33]


def test_webp_of_videos_stays_close(tmp_path):
    video = Video(drift(3, 260, 256), 8)
    video.save(tmp_path / "video.webp")
    with Image.open(tmp_path / "video.webp") as file:
        file.seek(2)
        assert psnr(np.asarray(file.convert("RGB")), video[2]) > 38


def test_gif_ticks_are_rounded_and_add_up(tmp_path):
    """Hundredths of a second: 3.33, 6.67, 10 become 3, 7, 10."""
    Video(blocks(frames=6), 30).save(tmp_path / "video.gif", scale=1)
    with Image.open(tmp_path / "video.gif") as gif:
        durations = []
        for number in range(6):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert durations == [30, 40, 30, 30, 40, 30]


@pytest.mark.parametrize(("fps", "kept"), [(50, 12), (50.1, 6), (100, 6), (101, 4)])
def test_gif_skips_frames_above_fifty_a_second(tmp_path, fps, kept):
    Video(blocks(frames=12), fps).save(tmp_path / "video.gif", scale=1)
    with Image.open(tmp_path / "video.gif") as gif:
        assert gif.n_frames == kept


@pytest.mark.parametrize(("colors", "exact"), [(255, True), (256, False)])
def test_gif_is_exact_up_to_255_colors(tmp_path, colors, exact):
    values = np.arange(256, dtype=np.uint8)
    values[colors:] = 0
    frames = np.stack([values, values[::-1], values // 3 * 3], axis=-1).reshape(1, 16, 16, 3)
    Video(frames, 8).save(tmp_path / "video.gif", scale=1)
    with Image.open(tmp_path / "video.gif") as gif:
        assert np.array_equal(np.asarray(gif.convert("RGB")), frames[0]) == exact


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp"])
def test_another_rate_by_choice(tmp_path, suffix):
    Video(drift(8, 64, 64), 8).save(tmp_path / f"video{suffix}", fps=16, scale=1)
    if suffix == ".webp":
        with Image.open(tmp_path / "video.webp") as file:
            file.seek(1)
            file.load()
            assert file.info["duration"] in (62, 63)
    else:
        assert open_video(tmp_path / f"video{suffix}").fps == pytest.approx(16, rel=0.03)
    with pytest.raises(ValueError, match=r"fps must be between 0\.01 and 1000, received 0"):
        Video(drift(8, 64, 64), 8).save(tmp_path / f"video{suffix}", fps=0)


@pytest.mark.parametrize(
    ("side", "scale"), [(255, 2), (256, 1), (257, 1), (128, 2), (127, 3), (86, 3), (85, 4), (512, 1)]
)
def test_small_videos_are_enlarged_as_far_as_needed(tmp_path, side, scale):
    Video(np.zeros((1, side, 600, 3), np.uint8), 8).save(tmp_path / "video.webp")
    with Image.open(tmp_path / "video.webp") as file:
        assert file.size == (600 * scale, side * scale)


@pytest.mark.parametrize(("name", "most"), [("v.mp4", 16384), ("v.gif", 16384), ("v.webp", 16383)])
def test_sides_that_a_format_cannot_store(tmp_path, name, most):
    with pytest.raises(
        ValueError, match=rf"16386 x 2 pixels are too large for \{name[1:]} \(at most {most} per side\)"
    ):
        Video(np.zeros((1, 1, 8193, 3), np.uint8), 8).save(tmp_path / name, scale=2)


@pytest.mark.parametrize("fps", [True, "8", None])
def test_rates_that_are_no_numbers(fps):
    with pytest.raises((ValueError, TypeError)):
        Video(blocks(), fps)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp"])
def test_the_same_frames_are_the_same_file(suffix, tmp_path):
    frame, column, row = np.mgrid[:17, :240, :320]
    waves = 127 + 80 * np.sin((row + 3 * frame) / 25) * np.cos((column - 2 * frame) / 40)
    noise = np.random.default_rng(0).normal(0, 6, (17, 240, 320, 3))
    video = Video((waves[..., None] + noise).clip(0, 255).astype(np.uint8), 8)
    files = set()
    for number in range(4):
        video.save(path := tmp_path / f"{number}{suffix}", scale=1)
        files.add(path.read_bytes())
    assert len(files) == 1
