"""Real videos and photographs are read as FFmpeg itself decodes them."""

import av
import numpy as np
import pytest
from PIL import Image

from refilm.evaluation import psnr
from refilm.media import open_image, open_video

from ..real_media import PHOTOGRAPHS, VIDEOS


@pytest.mark.parametrize(("name", "fps", "size"), [("bikes", 25, (272, 640)), ("carphone_pristine", 29.97, None)])
def test_a_real_video_has_its_frames_rate_and_size(name, fps, size):
    video = open_video(VIDEOS[name], frames=30)
    with av.open(str(VIDEOS[name])) as container:
        theirs = [frame.to_ndarray(format="rgb24") for _, frame in zip(range(30), container.decode(video=0))]  # noqa: B905
    assert len(video.frames) == 30
    assert video.fps == pytest.approx(fps, abs=0.01)
    height, width = video.frames.shape[1:3]
    if size is not None:
        assert (height, width) == size
        assert psnr(video.frames, np.stack(theirs)) > 30
    else:  # its pixels are 128/117 as wide as they are high
        assert width / height == pytest.approx(176 * 128 / 117 / 144, abs=0.02)


def test_two_photographs_of_one_subject_are_as_pillow_reads_them():
    left, right = (open_image(PHOTOGRAPHS[f"motorcycle_{side}"]) for side in ("left", "right"))
    assert left.size == right.size == Image.open(PHOTOGRAPHS["motorcycle_left"]).size
    assert np.array_equal(left, Image.open(PHOTOGRAPHS["motorcycle_left"]).convert("RGB"))
    assert 5 < psnr(left, right) < 30  # another view, the same thing
