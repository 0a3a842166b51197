"""Transparent parts are blended with white, in videos as in images, before any scaling."""

import av
import numpy as np
import pytest
from PIL import Image

from refilm.media import open_frames, open_video
from refilm.media.inspecting import inspect_video
from refilm.media.opening import reading

from .declaring import gray, tagged, write

HEIGHT, WIDTH = 48, 64
VPX = {"auto-alt-ref": "0", "crf": "4", "b": "2M"}


def half_clear(format: str) -> av.VideoFrame:
    """Dark red; its opacity grows from nothing at the left to all at the right."""
    pixels = np.empty((HEIGHT, WIDTH, 4), np.uint8)
    pixels[:] = (120, 10, 20, 0)
    pixels[..., 3] = np.linspace(0, 255, WIDTH).round()
    return av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format=format)


@pytest.mark.parametrize(
    ("codec", "container", "format"),
    [
        ("ffv1", "matroska", "yuva444p"),
        ("qtrle", "mov", "argb"),
        ("prores_ks", "mov", "yuva444p10le"),
        ("png", "mov", "rgba"),
        ("libvpx", "webm", "yuva420p"),
        ("libvpx-vp9", "webm", "yuva420p"),
    ],
)
def test_videos_with_alpha_lie_on_white(tmp_path, codec, container, format):
    options = {"prores_ks": {"profile": "4444"}, "libvpx": VPX, "libvpx-vp9": VPX}.get(codec, {})
    path = write(tmp_path / "clip", [half_clear(format)] * 2, codec=codec, container=container, options=options)
    shown = open_video(path).frames[1].astype(float)
    opacity = np.linspace(0, 1, WIDTH)[None, :, None]
    expected = opacity * np.array([120, 10, 20]) + (1 - opacity) * 255
    assert np.abs(shown - expected).mean() < 3
    assert np.abs(shown[:, 0] - 255).max() <= 2
    part = inspect_video(path)
    assert part.transparent
    assert np.abs(part.tiny[0, :, 0].astype(int) - 255).max() <= 5  # mixed after scaling: edges do not darken


def test_opaque_pixels_that_could_be_transparent_are_untouched(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    path = write(tmp_path / "clip.mkv", [tagged(pixels, "bgra")], codec="ffv1")
    assert np.array_equal(open_video(path).frames[0], pixels[..., 2::-1])
    assert not inspect_video(path).transparent


def test_webm_with_alpha_keeps_its_other_claims(tmp_path):
    """Its transparency requires another decoder, which does not receive the container's color metadata."""
    frames = [half_clear("yuva420p") for _ in range(24)]
    for number, frame in enumerate(frames):
        frame.color_trc, frame.color_primaries = 8, 12  # linear light, P3
        frame.planes[0].update(bytes([40 + 8 * number]) * frame.planes[0].buffer_size)
    path = write(tmp_path / "clip.webm", frames, codec="libvpx-vp9", container="webm", options=VPX)
    part = inspect_video(path)
    assert part.transparent
    assert part.colors is not None
    assert part.colors.name == "linear, Display P3"
    whole = open_video(path)
    ((time, sought),) = open_frames(path, [20 / 8])  # sought: the decoder starts anew
    assert time == pytest.approx(20 / 8)
    assert np.array_equal(sought, whole.frames[20])
    late = [frame for _, frame in open_frames(path, [2.9, 9.0])]  # sought again after the end
    assert [np.array_equal(frame, whole.frames[23]) for frame in late] == [True, True]


def test_frames_larger_than_is_declared_never_reach_libvpx(tmp_path, monkeypatch):
    path = write(tmp_path / "clip.webm", [half_clear("yuva420p")], codec="libvpx-vp9", container="webm", options=VPX)
    monkeypatch.setattr("refilm.media.opening._bounded", lambda *_: None)  # what the container declares
    monkeypatch.setattr("refilm.media.opening.MAX_PIXELS", WIDTH * HEIGHT - 1)
    with reading(path) as video:
        video.decoder = None
        with pytest.raises(av.FFmpegError):
            list(video.decoded())


def test_gifs_with_clear_parts_and_their_disposal(tmp_path):
    """Three frames: the second is drawn over the first, the third replaces both."""
    frames = []
    for number in range(3):
        frame = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
        frame.paste(
            [(200, 0, 0, 255), (0, 200, 0, 255), (0, 0, 200, 255)][number], (8 + 8 * number, 8, 16 + 8 * number, 40)
        )
        frames.append(frame)
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=100, disposal=[1, 2, 2])
    shown = open_video(tmp_path / "clip.gif").frames
    assert shown[:, 0, 0].tolist() == [[255, 255, 255]] * 3
    assert shown[1, 20, 12].tolist() == [200, 0, 0]
    assert shown[1, 20, 20].tolist() == [0, 200, 0]
    assert shown[2, 20, 28].tolist() == [0, 0, 200]
    assert inspect_video(tmp_path / "clip.gif").transparent


def test_plain_videos_are_not_called_transparent(tmp_path):
    assert not inspect_video(write(tmp_path / "clip.mkv", [gray(90)])).transparent
