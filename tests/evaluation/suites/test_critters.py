"""The suite of critters: the pairs of the benchmark, and a metric that knows the right attributes."""

from itertools import islice

import numpy as np
import pytest
from PIL import Image

from refilm.data import critters
from refilm.errors import UserError
from refilm.evaluation.case import Sample
from refilm.evaluation.metrics import create
from refilm.evaluation.suites import suite_of
from refilm.pocket.pairs import held_out_pairs, next_with_other_subject


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return suite_of("critters").cases(tmp_path_factory.mktemp("subjects"))


def sample(case, frames: np.ndarray) -> Sample:
    return Sample(case, frames, 8, ())


def clip(index: int) -> np.ndarray:
    return critters.render(critters.story(0, index, "held_out"), np.random.default_rng((0, index, 1)))


def test_the_cases_are_the_pairs_of_the_benchmark(cases):
    pairs = held_out_pairs(0, 200)
    assert len(cases) == 4 * len(pairs)
    for pair, (right, wrong, none, scale0) in islice(zip(pairs, zip(*[iter(cases)] * 4, strict=True), strict=True), 20):
        assert {case.prompt for case in (right, wrong, none, scale0)} == {pair.story.caption}
        assert right.details["color"] == pair.story.subject.color
        np.testing.assert_array_equal(Image.open(right.reference[0]), pair.image)
        other = next_with_other_subject(pair, pairs)
        assert other.story.subject != pair.story.subject
        np.testing.assert_array_equal(Image.open(wrong.reference[0]), other.image)
        assert none.reference == ()
        assert {case.group for case in (right, wrong, none, scale0)} == {right.group}


def test_real_clips_are_right_and_those_of_others_are_not(cases):
    metric = create("critters")
    right = [metric.score(sample(cases[4 * index], clip(index))) for index in range(10)]
    others = [metric.score(sample(cases[4 * index], clip(index + 1))) for index in range(10)]
    assert np.mean([score["all"] for score in right]) >= 0.8
    assert np.mean([np.mean(score["likeness"]) for score in right]) >= 0.8
    assert np.mean([score["all"] for score in others]) == 0
    assert np.mean([np.mean(score["likeness"]) for score in others]) <= 0.5
    assert len(right[0]["likeness"]) == len(clip(0))


def test_likeness_is_that_of_each_frame(cases):
    """The first half shows the subject, the second half another one."""
    first, other = clip(0), clip(1)
    frames = np.concatenate([first[:9], other[:9]])
    curve = create("critters").score(sample(cases[0], frames))["likeness"]
    assert np.mean(curve[:9]) > np.mean(curve[9:]) + 0.3


@pytest.mark.parametrize("frames", [clip(0)[:8], clip(0)[:, :, :40]], ids=["short", "not square"])
def test_videos_that_the_judge_cannot_read_are_refused(cases, frames):
    with pytest.raises(UserError, match="a video must be square, with at least 9 frames"):
        create("critters").score(sample(cases[0], frames))
