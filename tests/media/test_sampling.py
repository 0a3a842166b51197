"""Sampling in time uses the nearest frames, from files of any rate, and no more than a part has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.media import Video, open_video
from refilm.media.sampling import nearest, sample_video

times = st.lists(st.integers(0, 400), min_size=1, max_size=60, unique=True).map(
    lambda ticks: [(tick - min(ticks)) / 100 for tick in sorted(ticks)]
)
rates = st.sampled_from([1.0, 7.5, 8.0, 16.0, 23.976, 30.0, 60.0])


@given(times, rates, st.integers(0, 200).map(lambda tick: tick / 100), st.none() | st.integers(1, 300))
def test_each_moment_gets_the_nearest_frame(frames, fps, start, hundredths):
    """The reference implementation compares all frames for each time."""
    half = 0.05
    end = float("inf") if hundredths is None else start + hundredths / 100
    moments = []
    while (moment := start + len(moments) / fps) < min(frames[-1] + half, end - half) - 2e-6:
        moments.append(moment)
    runs = nearest(((time, time) for time in frames), fps=fps, start=start, end=end, half=half)
    chosen = [frame for frame, repeats in runs for _ in range(repeats)]
    assert len(chosen) - len(moments) in (0, 1)  # a moment on the very edge may be seen either way
    for moment, frame in zip(moments, chosen, strict=False):
        assert abs(frame - moment) <= min(abs(time - moment) for time in frames) + 1e-5


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """Two seconds at 24 fps; the gray value of a frame is its number."""
    path = tmp_path_factory.mktemp("videos") / "counting.mp4"
    frames = np.stack([np.full((64, 64, 3), 4 * number + 10, np.uint8) for number in range(48)])
    Video(frames, 24).save(path, scale=1)
    return path


def numbers(path, **part) -> list[int]:
    return [round((float(frame.mean()) - 10) / 4) for frame in sample_video(path, **part)]


def test_a_file_at_other_rates(counting):
    assert numbers(counting, fps=24) == list(range(48))
    assert numbers(counting, fps=8) == list(range(0, 48, 3))
    assert numbers(counting, fps=16)[:7] == [0, 1, 3, 4, 6, 7, 9]  # halfway, the earlier
    assert numbers(counting, fps=48)[:5] == [0, 0, 1, 1, 2]


def test_a_part_of_a_file(counting):
    assert numbers(counting, fps=8, start=1.5) == [36, 39, 42, 45]
    assert numbers(counting, fps=24, start=0.25, end=0.5) == list(range(6, 12))
    same = open_video(counting, start=0.25, end=0.5).frames
    assert np.array_equal(np.stack(list(sample_video(counting, fps=24, start=0.25, end=0.5))), same)
    assert numbers(counting, fps=8, start=5) == []
    with pytest.raises(ValueError, match=r"counting.mp4: start and end must be seconds"):
        numbers(counting, fps=8, start=1, end=0.5)


def test_a_gap_of_years_is_counted_at_once():
    """A file can declare any times; the times in between are not enumerated one by one."""
    runs = list(nearest(iter([(0.0, "a"), (1e9, "b")]), fps=8, start=0, end=float("inf"), half=0.5))
    assert [frame for frame, _ in runs] == ["a", "b"]
    assert runs[0][1] == 4 * 10**9 + 1
    assert runs[1][1] == 4 * 10**9 + 3
    (run,) = nearest(iter([(0.0, "a"), (1e9, "b")]), fps=8, start=0, end=10, half=0.5)
    assert run == ("a", 76)  # 0 to 9.375 s: no moment is later than half a second before the end
