"""Interlaced videos are deinterlaced, with the same frame count and times; all others are unchanged."""

from fractions import Fraction

import av
import numpy as np
import pytest

from refilm.data.checking.declared import declared_by_video
from refilm.media import open_frames, open_video
from refilm.media.fields import progressive
from refilm.media.inspecting import inspect_video
from refilm.media.opening import reading, timed_frames

from .declaring import gray, write


def moment(step: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A bright square that moves quickly over gray."""
    image = np.full((height, width, 3), 110, np.uint8)
    image[24:72, 4 + 2 * step : 40 + 2 * step] = 245
    return image


def woven(number: int, top_first: bool, **size: int) -> np.ndarray:
    """Two fields in one frame, line by line."""
    first, second = moment(2 * number, **size), moment(2 * number + 1, **size)
    frame = first.copy()
    frame[1 if top_first else 0 :: 2] = second[1 if top_first else 0 :: 2]
    return frame


def interlaced(path, codec, container, top_first, *, format="yuv420p", said=True, order=0, **size):
    """Frames of two fields that declare it, or with `said=False` declare that they are progressive."""
    frames = [av.VideoFrame.from_ndarray(woven(number, top_first, **size), format="rgb24") for number in range(20)]
    fields = "tff" if top_first else "bff"
    options = {"libx264": {"crf": "4", "x264-params": f"{fields}=1"}, "mjpeg": {"qmin": "1", "qmax": "1"}}
    stored = list(flagged([frame.reformat(format=format) for frame in frames], fields if said else "prog"))
    options = options.get(codec, {"flags": "+ildct+ilme", "b": "8M"} if said else {})
    return write(path, stored, codec=codec, container=container, options=options, rate=25, order=order)


def flagged(frames, order):
    """Frames that declare which field comes first, as from a capture card."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frames[0].width, height=frames[0].height, format=frames[0].format, time_base=Fraction(1, 8)
    )
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink"))
    graph.configure()
    for frame in frames:
        graph.push(frame)
        yield graph.pull()


def combs(pixels: np.ndarray) -> float:
    """How much neighboring lines differ more than every other line does."""
    lines = pixels[30:66].astype(float).mean(axis=2)
    return float(np.abs(lines[:-1] - lines[1:]).max() - np.abs(lines[:-2] - lines[2:]).max())


def luma(frame: av.VideoFrame) -> np.ndarray:
    return frame.to_ndarray()[: frame.height]


KINDS = [
    ("libx264", "mp4", True),
    ("libx264", "mp4", False),
    ("libx264", "matroska", True),
    ("mpeg2video", "matroska", True),
    ("mpeg2video", "mov", False),
]


@pytest.mark.parametrize(("codec", "container", "top_first"), KINDS)
def test_combs_are_gone(tmp_path, codec, container, top_first):
    path = interlaced(tmp_path / "clip", codec, container, top_first)
    with av.open(str(path)) as file:
        raw = list(file.decode(video=0))
    assert all(frame.interlaced_frame for frame in raw)
    assert combs(raw[8].to_ndarray(format="rgb24")) > 60
    video = open_video(path)
    assert len(video.frames) == 20
    assert max(combs(frame) for frame in video.frames) < 30
    first = 0 if top_first else 1
    with reading(path) as file:
        made = list(timed_frames(file))[8][1]
    assert np.array_equal(luma(made)[first::2], luma(raw[8])[first::2])  # this field is kept, the other is made
    assert not np.array_equal(luma(made), luma(raw[8]))


PROFESSIONAL = [
    ("dvvideo", "mov", False, {"height": 576, "width": 720}),
    ("dvvideo", "avi", False, {"height": 576, "width": 720}),
    ("prores_ks", "mov", True, {"format": "yuv422p10le"}),
    ("ffv1", "matroska", True, {"order": 1}),  # the container says that it is progressive
    ("ffv1", "avi", False, {}),
]


@pytest.mark.parametrize(("codec", "container", "top_first", "form"), PROFESSIONAL)
def test_frames_speak_for_themselves(tmp_path, codec, container, top_first, form):
    path = interlaced(tmp_path / "clip", codec, container, top_first, **form)
    part = inspect_video(path)
    assert (part.interlaced, part.contested) == (True, False)
    assert max(combs(frame) for frame in open_video(path).frames) < 30


@pytest.mark.parametrize(("order", "top_first"), [(2, True), (3, False), (4, False), (5, True)])
def test_what_the_container_alone_knows(tmp_path, order, top_first):
    """MOV's `fiel` declares it for codecs that cannot; an image stored in one piece keeps the earlier field."""
    path = interlaced(tmp_path / "clip", "mjpeg", "mov", top_first, format="yuvj420p", said=False, order=order)
    with av.open(str(path)) as file:
        raw = list(file.decode(video=0))
    assert not any(frame.interlaced_frame for frame in raw)
    assert combs(raw[8].to_ndarray(format="rgb24")) > 60
    assert max(combs(frame) for frame in open_video(path).frames) < 30
    with reading(path) as file:
        made = list(timed_frames(file))[8][1]
    first = 0 if top_first else 1
    assert np.array_equal(luma(made)[first::2], luma(raw[8])[first::2])
    assert inspect_video(path).interlaced


@pytest.mark.parametrize(("codec", "format"), [("mjpeg", "yuvj420p"), ("v210", "yuv422p10le"), ("rawvideo", "uyvy422")])
def test_progressive_codecs_without_fields_are_left_alone(tmp_path, codec, format):
    path = interlaced(tmp_path / "clip", codec, "mov", True, format=format, said=False, order=1)
    part = inspect_video(path)
    assert (part.interlaced, part.contested) == (False, False)


def test_frames_are_believed_against_the_container(tmp_path):
    path = interlaced(tmp_path / "clip", "prores_ks", "mov", True, format="yuv422p10le", said=False, order=2)
    part = inspect_video(path)
    assert (part.interlaced, part.contested) == (False, True)
    (found,) = declared_by_video(path, part)
    assert found.kind == "interlaced"
    assert "is marked as interlaced, but its frames are marked as progressive" in found.message


def test_times_and_single_frames_stay(tmp_path):
    path = interlaced(tmp_path / "clip", "libx264", "mp4", True)
    with reading(path) as video:
        times = [time for time, _ in timed_frames(video)]
        assert video.interlaced == 20
    assert times == pytest.approx([number / 25 for number in range(20)])
    ((time, frame),) = open_frames(path, [8 / 25])
    assert time == pytest.approx(8 / 25)
    assert np.array_equal(frame, open_video(path).frames[8])
    part = inspect_video(path)
    assert (len(part.times), part.interlaced) == (20, True)


def test_frames_that_change_their_size_are_not_mixed():
    """The filter is restarted: each frame keeps its own size."""
    frames = [
        av.VideoFrame.from_ndarray(woven(number, True, height=height), format="rgb24").reformat(format="yuv420p")
        for height in (96, 64)
        for number in range(3)
    ]
    stamped = list(flagged(frames[:3], "tff")) + list(flagged(frames[3:], "tff"))
    for number, frame in enumerate(stamped):
        frame.pts, frame.time_base = number, Fraction(1, 8)
    made = list(progressive(iter(stamped), Fraction(1, 8)))
    assert [frame.height for frame in made] == [96, 96, 96, 64, 64, 64]
    assert [frame.time for frame in made] == pytest.approx([number / 8 for number in range(6)])
    assert not any(frame.interlaced_frame for frame in made)


def test_progressive_frames_are_the_very_same():
    frames = [gray(100) for _ in range(3)]
    assert [one is other for one, other in zip(progressive(iter(frames), Fraction(1, 8)), frames, strict=True)] == [
        True
    ] * 3
