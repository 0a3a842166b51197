"""Times of frames in each container format: empty slots, offsets, edit lists."""

import pytest

from refilm.media import duration, open_frames, open_video
from refilm.media.inspecting import inspect_video
from refilm.media.opening import reading, timed_frames

from .declaring import gray, write

FRAMES = [40, 60, 80, 100, 120, 140]
PLACES = (0, 1, 2, 10, 11, 12)  # of 8 a second


def clip(path, codec, container, places=PLACES):
    format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    frames = [gray(value).reformat(format=format) for value in FRAMES]
    return write(path, frames, codec=codec, container=container, places=places)


def times(path) -> list[float]:
    with reading(path) as video:
        return [time for time, _ in timed_frames(video)]


@pytest.mark.parametrize(
    ("codec", "container"), [("mjpeg", "avi"), ("ffv1", "avi"), ("ffv1", "matroska"), ("libx264", "mp4")]
)
def test_places_that_are_left_empty_take_their_time(tmp_path, codec, container):
    """Capture programs drop frames that they could not store in time; AVI has empty chunks for them."""
    path = clip(tmp_path / "clip", codec, container)
    assert times(path) == pytest.approx([place / 8 for place in PLACES])
    assert duration(path) == pytest.approx(13 / 8)
    ((time, frame),) = open_frames(path, [10 / 8])
    assert time == pytest.approx(10 / 8)
    assert frame.tolist() == open_video(path).frames[3].tolist()
    assert len(open_video(path, start=3 / 8, end=11 / 8).frames) == 1


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_of_avi_that_come_in_another_order_are_all_there(tmp_path, codec):
    path = clip(tmp_path / "clip", codec, "avi", places=range(6))
    assert times(path) == pytest.approx([place / 8 for place in range(6)])


@pytest.mark.parametrize(
    ("codec", "container"), [("libx264", "matroska"), ("libvpx-vp9", "webm"), ("libx264", "mp4"), ("mjpeg", "mov")]
)
def test_the_first_frame_is_second_0(tmp_path, codec, container):
    """Recordings of a stream start at any time; their duration is counted from their first frame."""
    path = clip(tmp_path / "clip", codec, container, places=range(40, 46))
    part = inspect_video(path)
    assert part.times == pytest.approx([place / 8 for place in range(6)])
    assert part.duration == pytest.approx(6 / 8)
    assert abs(int(part.middle.mean()) - int(open_video(path).frames[3].mean())) <= 1
