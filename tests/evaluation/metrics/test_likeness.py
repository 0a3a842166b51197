"""Likeness by EfficientNet-Lite0, on photographs and critters."""

from dataclasses import replace

import numpy as np
import pytest

from refilm.data import critters
from refilm.errors import UserError
from refilm.evaluation.metrics import create

from ..samples import photograph, sample


@pytest.fixture(scope="module")
def likeness():
    return create("efficientnet_i", frames=4)


@pytest.fixture(scope="module")
def of_segment():
    return create("efficientnet_i_segment", frames=4)


def mean(metric, given) -> float:
    return float(np.mean(metric.score(given)[metric.columns[0].name]))


def test_photographs_are_in_order(likeness):
    """Same view > other view > other object."""
    left, right = photograph("motorcycle_left"), photograph("motorcycle_right")
    same, other_view = mean(likeness, sample(left, left)), mean(likeness, sample(right, left))
    assert same == pytest.approx(1, abs=1e-5)
    assert 0.85 < other_view < 0.99
    for name in ("chelsea", "astronaut", "coffee"):
        assert mean(likeness, sample(photograph(name), left)) < 0.5


def test_a_part_of_the_cat_is_like_the_cat(likeness):
    cat = photograph("chelsea")
    assert mean(likeness, sample(cat[:180, 60:260], cat)) > 0.75
    assert mean(likeness, sample(cat[:, ::-1], cat)) > 0.9


def test_images_of_the_subject_are_averaged(likeness):
    cat, cup = photograph("chelsea"), photograph("coffee")
    both = mean(likeness, sample(cat, cat, cup))
    assert both == pytest.approx((1 + mean(likeness, sample(cat, cup))) / 2, abs=1e-5)


def test_likeness_over_time(likeness):
    """Every scored frame has its value: the subject is replaced in the middle of the video."""
    cat, cup = photograph("chelsea")[:, :240], photograph("coffee")[:, :240]
    curve = likeness.score(sample(np.stack([cat] * 4 + [cup] * 5), cat))["efficientnet_i"]
    assert len(curve) == 4
    assert min(curve[:2]) > 0.99
    assert max(curve[2:]) < 0.3


def test_a_segment_does_not_depend_on_the_background(of_segment):
    cat, mask = photograph("chelsea", 120), np.zeros((1, 120, 180), bool)
    mask[:, 10:100, 30:140] = True
    other = np.where(mask[0, ..., None], cat, np.uint8(255))
    scores = [of_segment.score(sample(frame, cat, masks=mask)) for frame in (cat, other)]
    assert scores[0] == scores[1]
    assert mean(of_segment, sample(cat, cat, masks=mask)) > 0.6


def test_frames_without_the_subject_count_as_0(of_segment):
    cat, masks = photograph("chelsea", 120), np.zeros((2, 120, 180), bool)
    masks[1] = True
    curve = of_segment.score(sample(np.stack([cat, cat]), cat, masks=masks))["efficientnet_i_segment"]
    assert curve[0] == 0
    assert curve[1] > 0.8  # on a square, the image is not
    assert of_segment.score(sample(cat, cat, masks=masks[:1]))["efficientnet_i_segment"] == [0]


def test_images_of_the_subject_have_segments_where_masks_are_known(of_segment):
    cat, mask = photograph("chelsea", 120), np.zeros((1, 120, 180), bool)
    mask[:, 10:100, 30:140] = True
    given = replace(sample(cat, cat, cat, masks=mask), subject_masks=(mask[0], None))
    one, other = (replace(given, subject=(cat,), subject_masks=(known,)) for known in given.subject_masks)
    assert mean(of_segment, one) == pytest.approx(1, abs=1e-5)
    assert mean(of_segment, given) == pytest.approx((1 + mean(of_segment, other)) / 2, abs=1e-5)
    assert mean(of_segment, other) == pytest.approx(mean(of_segment, sample(cat, cat, masks=mask)), abs=1e-5)


def test_what_is_missing_is_named(likeness, of_segment):
    cat = photograph("chelsea", 60)
    with pytest.raises(UserError, match="case: likeness needs an image of the subject"):
        likeness.score(sample(cat))
    with pytest.raises(UserError, match="case: the video has no masks of the subject; score the full frame"):
        of_segment.score(sample(cat, cat))


def test_a_clip_is_more_like_its_critter_than_like_others(likeness):
    rng = np.random.default_rng(0)
    story, other = critters.story(1, 3, "held_out"), critters.story(1, 5, "held_out")
    frames = critters.shoot(story, rng, size=64).frames
    right, wrong = (critters.portrait(one.subject, rng, size=64) for one in (story, other))
    assert mean(likeness, sample(frames, right)) > mean(likeness, sample(frames, wrong)) + 0.05


def test_the_identity_says_what_was_compared(likeness, of_segment):
    assert likeness.identity["frames"].startswith("at most 4 frames, evenly spaced")
    assert likeness.identity["part"] == "the full frame"
    assert of_segment.identity["part"] == "the subject's segment on gray"
