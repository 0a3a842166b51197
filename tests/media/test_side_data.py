"""Decoded frames are released although their side data is read."""

import gc
import io

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from refilm.data.checking.declared import declared_by_video
from refilm.media import open_video
from refilm.media.frame_colors import to_rgb
from refilm.media.inspecting import inspect_video
from refilm.media.opening import reading, timed_frames
from refilm.media.sampling import sample_video
from refilm.media.side_data import FrameSideData

from .declaring import gray, write, write_jpegs

FRAMES = 60


@pytest.fixture(scope="module", params=["plain", "turned", "interlaced", "gif"])
def clip(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / request.param
    if request.param == "gif":
        frames = [gray(40 + number).reformat(format="rgb8") for number in range(FRAMES)]
        return write(path, frames, codec="gif", container="gif")
    options = {"x264-params": "tff=1"} if request.param == "interlaced" else {}
    turn = {"degrees": 90} if request.param == "turned" else None
    frames = [gray(40 + number) for number in range(FRAMES)]
    return write(path, frames, codec="libx264", container="mp4", options=options, turn=turn)


def alive() -> int:
    """Frames as they were decoded; arrays are views of frames in RGB."""
    frames = [one for one in gc.get_objects() if isinstance(one, av.VideoFrame)]
    return sum(one.width > 2 and one.format is not None and one.format.name != "rgb24" for one in frames)


@pytest.mark.parametrize("reader", ["sample", "inspect", "open"])
def test_few_frames_live_at_once(clip, reader, monkeypatch):
    """Counted where each frame is shown, with the garbage collector off: reference counts alone must free them."""
    counts = []

    def counted(*given):
        counts.append(alive())
        return to_rgb(*given)

    monkeypatch.setattr("refilm.media.opening.to_rgb", counted)
    gc.collect()
    gc.freeze()  # only new objects are looked through
    gc.disable()
    try:
        if reader == "sample":
            taken = sum(1 for _ in sample_video(clip, fps=8))
        elif reader == "inspect":
            taken = len(inspect_video(clip).times)
        else:
            taken = len(open_video(clip).frames)
    finally:
        gc.enable()
    assert taken > 20
    assert max(counts) <= 12, counts  # of FRAMES; decoders run some frames ahead, by their threads


ORIENTATIONS = {  # degrees, mirrored, upside down -> what is to be done with the pixels
    (0, False, False): lambda pixels: pixels,
    (0, True, False): lambda pixels: pixels[:, ::-1],
    (0, False, True): lambda pixels: pixels[::-1],
    (180, False, False): lambda pixels: pixels[::-1, ::-1],
    (90, False, False): lambda pixels: np.rot90(pixels, 1),
    (-90, False, False): lambda pixels: np.rot90(pixels, -1),
}


@pytest.mark.parametrize("turn", ORIENTATIONS)
def test_orientations(tmp_path, turn):
    degrees, mirrored, upside_down = turn
    way = {"degrees": degrees, "hflip": mirrored, "vflip": upside_down}
    path = write(tmp_path / "clip.mp4", [gray(40)], codec="libx264", container="mp4", turn=way)
    with reading(path) as video:
        sides = video.sides(next(timed_frames(video))[1])
    marked = np.arange(48 * 64 * 3).reshape(48, 64, 3)
    assert np.array_equal(sides.upright(marked), ORIENTATIONS[turn](marked))
    assert sides.turned == (turn != (0, False, False))


@pytest.mark.parametrize(("degrees", "mirrored"), [(90, True), (-90, True)])
def test_mirrored_quarter_turns(tmp_path, degrees, mirrored):
    """The display matrix as FFmpeg writes it: first mirrored, then rotated."""
    way = {"degrees": degrees, "hflip": mirrored}
    path = write(tmp_path / "clip.mp4", [gray(40)], codec="libx264", container="mp4", turn=way)
    with reading(path) as video:
        sides = video.sides(next(timed_frames(video))[1])
    marked = np.arange(48 * 64 * 3).reshape(48, 64, 3)
    plain = np.rot90(marked, 1 if degrees == 90 else -1)
    assert any(np.array_equal(sides.upright(marked), other) for other in (plain[:, ::-1], plain[::-1]))


@pytest.mark.parametrize(("mode", "name"), [("left_right", "side by side"), ("top_bottom", "one above the other")])
def test_stereo_is_known(tmp_path, mode, name):
    path = write(tmp_path / "clip.mkv", [gray(40)], codec="libx264", metadata={"stereo_mode": mode})
    assert inspect_video(path).sides.stereo == name


def jpegs(**said) -> list[bytes]:
    images = [io.BytesIO() for _ in range(12)]
    for number, file in enumerate(images):
        Image.new("RGB", (64, 48), (200, 9 * number, 30)).save(file, "JPEG", **said)
    return [file.getvalue() for file in images]


@pytest.mark.parametrize("container", ["mov", "avi"])
def test_frames_of_cameras_with_exif_are_read(tmp_path, container):
    """FFmpeg passes EXIF on as a type of side data that PyAV cannot list."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6  # its maker; to be turned a quarter, clockwise
    path = write_jpegs(tmp_path / "clip", jpegs(exif=exif), container=container)
    assert open_video(path).frames.shape == (12, 64, 48, 3)
    assert inspect_video(path).sides.turned


def test_a_profile_in_a_video_is_reported(tmp_path):
    known = {name: ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("sRGB", "LAB")}
    names = {}
    for name, content in {**known, "damaged": b"no profile" * 30}.items():
        path = write_jpegs(tmp_path / name, jpegs(icc_profile=content))
        part = inspect_video(path)
        names[name] = part.sides.profile
        reported = [one.message for one in declared_by_video(path, part) if one.kind == "color"]
        assert bool(reported) == (name != "sRGB")
    assert names == {"damaged": "damaged", "sRGB": "", "LAB": "Lab identity built-in"}


def test_a_plain_frame_has_no_sides():
    assert FrameSideData.of(gray(40)) == FrameSideData()
