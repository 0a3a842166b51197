"""Measures of controls, counted on rendered clips."""

import numpy as np
import pytest

from refilm.data import critters
from refilm.pocket.judge import Judgement
from refilm.pocket.measures import fraction_inside, likeness, presence
from refilm.pocket.region_judge import SubjectJudgement


def moving_right() -> critters.Shot:
    """A critter that starts in the left half and ends in the right half."""
    story = critters.Story(critters.subjects("train")[0], "moves right", "snow")
    return critters.shoot(story, np.random.default_rng(0))


def test_pixels_inside_a_mask_are_counted_over_all_frames():
    critter = moving_right().masks[0]
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    inside = fraction_inside(critter, left)
    assert inside == critter[:, :, :32].sum() / critter.sum()
    assert 0.2 < inside < 0.8
    assert fraction_inside(critter, ~left) == pytest.approx(1 - inside)
    moving = np.where(np.arange(17)[:, None, None] < 8, left, ~left)
    assert fraction_inside(critter, moving) > inside + 0.1
    assert fraction_inside(critter, critter) == 1
    assert fraction_inside(np.zeros_like(critter), left) == 0


def test_presence_is_the_area_of_each_frame():
    critter = moving_right().masks[0].copy()
    critter[:4] = False
    assert presence(critter).tolist() == [mask.sum() / 64**2 for mask in critter]
    assert (presence(critter) > 0).tolist() == [False] * 4 + [True] * 13


def test_likeness_is_the_fraction_of_the_subject_s_attributes():
    subject = critters.Subject("cat", "red", "yellow", "bellied", "wide")
    other = critters.Subject("cat", "blue", "yellow", "split", "sleepy")
    story = critters.Story(other, "waits", "snow")
    assert likeness(Judgement.of(story), subject) == likeness(SubjectJudgement.of(other, "waits"), subject) == 0.4
    assert likeness(Judgement.of(story), other) == 1


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [(np.ones((32, 32), bool), r"\(H, W\) or \(F, H, W\)"), (np.ones((64, 64), np.uint8), "bool")],
)
def test_other_masks_are_refused(mask, complaint):
    with pytest.raises(ValueError, match=complaint):
        fraction_inside(np.ones((3, 64, 64), bool), mask)
