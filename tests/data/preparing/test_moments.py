"""The parts of videos that references can come from."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.data.examples import Example
from refilm.data.preparing.moments import Related, RelatedClips, moments, places, until

VIDEO, OTHER = Path("a.mp4"), Path("b.mp4")


def clip(start=None, end=None, subject=None, video=VIDEO) -> Example:
    return Example(video, "a dog", (), start, end, subject)


def spans_of(example: Example, *, among=(), distance=1.0) -> list[list[tuple[Path, tuple]]]:
    near = RelatedClips([example, *among]).of(example, most=9, rng=np.random.default_rng(0))
    return [[(place.video, place.spans) for place in level] for level in places(example, near, distance)]


def test_a_whole_video_gives_its_later_part():
    assert spans_of(clip()) == [[], [(VIDEO, ())], [(VIDEO, ((1.0, math.inf),))]]


def test_the_rest_of_the_video_comes_before_the_clip_itself():
    outside, inside = spans_of(clip(3, 5))[1:]
    assert outside == [(VIDEO, ((0.0, 2.0), (6.0, math.inf)))]
    assert inside == [(VIDEO, ((4.0, 5.0),))]
    assert spans_of(clip(0.5, 1.2))[2] == [(VIDEO, ())]  # nothing of it is a second from its start


def test_other_clips_of_the_subject_come_first_and_keep_their_distance_in_the_same_video():
    same_subject = spans_of(
        clip(3, 5, "fox"), among=[clip(5.5, 9, "fox"), clip(2, 4, "fox", OTHER), clip(0, 9, "cat", OTHER)]
    )[0]
    assert sorted(same_subject) == [(VIDEO, ((6.0, 9.0),)), (OTHER, ((2.0, 4.0),))]
    assert spans_of(clip(3, 5), among=[clip(2, 4, None, OTHER)])[0] == []  # no name, no same_subject


def test_what_other_clips_of_the_video_show_is_left_alone():
    _, outside, _ = spans_of(clip(0, 2, "fox"), among=[clip(2, 4, "cat"), clip(6, 7)])
    assert outside == [(VIDEO, ((4.0, 6.0), (7.0, math.inf)))]


def test_kin_is_drawn_without_the_clip_itself():
    examples = [clip(n, n + 1, "fox") for n in range(30)]
    drawn = set()
    for seed in range(40):
        same_subject = RelatedClips(examples).of(examples[3], most=2, rng=np.random.default_rng(seed)).same_subject
        assert len(same_subject) == len({other.start for other in same_subject}) == 2
        drawn |= {other.start for other in same_subject}
    assert len(drawn) > 20
    assert 3 not in drawn
    assert RelatedClips(examples[:1]).of(examples[0], most=2, rng=np.random.default_rng(0)) == Related((), None, ())


@given(
    ends=st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(sorted),
    count=st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_moments_are_spread_over_their_spans(ends, count, seed):
    spans = [(float(a), float(b)) for a, b in zip(ends[::2], ends[1::2], strict=False)]
    drawn = moments(spans, count, np.random.default_rng(seed))
    assert len(drawn) == count
    assert drawn == sorted(drawn)
    assert all(any(a <= moment <= b for a, b in spans) for moment in drawn)
    share = sum(b - a for a, b in spans) / count
    for low, high in pairwise(drawn):  # related are at most two shares apart, gaps aside
        gaps = sum(max(0.0, min(high, b) - max(low, a)) for a, b in spans)
        assert gaps <= 2 * share + 1e-9


def test_spans_end_where_the_video_does():
    assert until([(0.0, 2.0), (3.0, math.inf), (8.0, 9.0)], 5.0) == [(0.0, 2.0), (3.0, 5.0)]


@pytest.mark.parametrize("distance", [0.0, 0.5, 3.0])
@given(begin=st.floats(0, 10), length=st.floats(0.1, 10))
def test_no_place_of_the_own_video_is_near(distance, begin, length):
    levels = spans_of(clip(begin, begin + length, "fox"), among=[clip(0, 30, "fox")], distance=distance)
    for level in levels[:2]:
        for _, spans in level:
            assert all(end <= begin - distance or start >= begin + length + distance for start, end in spans)
    assert all(start >= begin + distance for start, _ in levels[2][0][1])
