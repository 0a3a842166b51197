"""The content of files is reported correctly: displayed, rotated and excluded frames."""

import av
import numpy as np
import pytest
from PIL import Image

from refilm.media import open_video
from refilm.media.inspecting import inspect_video, packets_left_out, tiny_image

from ..data.checking.damaged import video, write


@pytest.mark.parametrize(
    "turn", [None, {"degrees": 90}, {"degrees": -90}, {"degrees": 180}, {"degrees": 0, "hflip": True}]
)
def test_small_images_are_those_of_the_frames_as_they_are_shown(tmp_path, turn):
    path = write(tmp_path / "1.mp4", video(0), turn=turn)
    part, shown = inspect_video(path), open_video(path).frames
    assert (part.height, part.width) == shown.shape[1:3]
    assert part.sides.turned == (turn is not None)
    small = np.stack([tiny_image(Image.fromarray(frame)) for frame in shown])
    assert np.abs(part.tiny.astype(int) - small).mean() < 3
    assert np.array_equal(part.middle, shown[6])


def test_a_part_is_that_of_reading(tmp_path):
    path = write(tmp_path / "1.mp4", video(0, frames=24))
    part = inspect_video(path, start=0.5, end=1.25)
    assert part.times == [0.5, 0.625, 0.75, 0.875, 1.0, 1.125]
    assert len(open_video(path, start=0.5, end=1.25).frames) == 6
    assert (part.declared, part.duration, part.rate, part.codec, part.bits, part.corrupt) == (24, 3.0, 8, "h264", 8, 0)


def test_frames_that_a_lossless_cut_leaves_out_are_not_missing(tmp_path):
    whole, cut = write(tmp_path / "whole.mp4", video(0, frames=24)), tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = (ticks - int(0.5 / stream.time_base) for ticks in (packet.pts, packet.dts))
                packet.stream = copy
                target.mux(packet)
    part = inspect_video(cut)
    assert (len(part.times), part.declared, packets_left_out(cut)) == (20, 24, 4)
    assert packets_left_out(whole) == 0


def test_frames_that_are_too_large_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("refilm.media.opening.MAX_PIXELS", 64 * 96 - 1)
    with pytest.raises(ValueError, match=r"1\.mp4: frames of 96 x 64 pixels have more than"):
        inspect_video(write(tmp_path / "1.mp4", video(0)))


def test_numbers_of_frames_are_bounded(tmp_path, monkeypatch):
    path = write(tmp_path / "1.mp4", video(0))
    monkeypatch.setattr("refilm.media.inspecting.MOST_FRAMES", 12)
    assert len(inspect_video(path).times) == 12
    monkeypatch.setattr("refilm.media.inspecting.MOST_FRAMES", 11)
    with pytest.raises(ValueError, match=r"1\.mp4: has more than 11 frames; split it into clips, or set start and end"):
        inspect_video(path)
    assert len(inspect_video(path, start=0.125).times) == 11
