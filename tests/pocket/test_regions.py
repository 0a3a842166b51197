"""Regions from probabilities made of boxes, and of the true masks of clips in which critters touch."""

import numpy as np
import pytest

from refilm.data import critters
from refilm.pocket.finder import CLASSES
from refilm.pocket.regions import regions

FRAMES = 12


def probabilities(classes: np.ndarray) -> np.ndarray:
    """Classes (F, H, W) as a confident finder's probabilities (F, 9, H, W)."""
    return np.where(np.arange(len(CLASSES))[:, None, None] == classes[:, None], 0.9, 0.0125).astype(np.float32)


def boxes(*given: tuple[str, slice, int]) -> np.ndarray:
    """Classes with a box of 12 pixels for each shape, frames and left edge."""
    classes = np.zeros((FRAMES, 64, 64), dtype=int)
    for shape, frames, left in given:
        classes[frames, 20:32, left : left + 12] = CLASSES.index(shape)
    return classes


def found(classes: np.ndarray) -> list[tuple[str, int]]:
    """Shape and pixels of each region."""
    return [(one.shape, int(one.masks.sum())) for one in regions(probabilities(classes))]


ALWAYS, FIRST, LAST = slice(None), slice(0, 5), slice(7, None)
BOX = 12 * 12


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([("cat", ALWAYS, 4)], [("cat", 12 * BOX)]),
        ([("cat", FIRST, 4), ("star", ALWAYS, 40)], [("star", 12 * BOX), ("cat", 5 * BOX)]),
        ([("cat", ALWAYS, 4), ("star", ALWAYS, 16)], [("cat", 12 * BOX), ("star", 12 * BOX)]),  # they touch
        ([("cat", ALWAYS, 4), ("cat", ALWAYS, 40)], [("cat", 12 * BOX), ("cat", 12 * BOX)]),
        ([("cat", FIRST, 4), ("cat", LAST, 40)], [("cat", 10 * BOX)]),  # lost for two frames
        ([("cat", FIRST, 4), ("star", LAST, 4)], [("cat", 5 * BOX), ("star", 5 * BOX)][::-1]),
        ([("cat", slice(0, 7), 4), ("bunny", slice(7, None), 4)], [("cat", 12 * BOX)]),  # the shape is uncertain
    ],
)
def test_critters_are_separated_by_space_and_by_simultaneous_shapes(given, expected):
    assert sorted(found(boxes(*given))) == sorted(expected)


def test_specks_are_no_critters_and_no_part_of_one():
    classes = boxes(("cat", ALWAYS, 4))
    classes[3, 50:54, 50:54] = CLASSES.index("star")
    classes[:, 24:28, 4:7] = CLASSES.index("bunny")  # an error of the finder on the cat
    assert found(classes) == [("cat", 12 * BOX)]


def test_regions_are_the_masks_of_clips_with_two_critters():
    """Some of these critters touch."""
    for index in range(25):
        story, shot = critters.double_story(6, index, "train"), critters.draw_double(6, index, "train")
        classes = np.zeros(shot.masks.shape[1:], dtype=int)
        for subject, mask in zip(story.subjects, shot.masks, strict=True):
            classes[mask] = CLASSES.index(subject.shape)
        masks = {one.shape: one.masks for one in regions(probabilities(classes))}
        assert set(masks) == {subject.shape for subject in story.subjects}
        for subject, mask in zip(story.subjects, shot.masks, strict=True):
            assert np.array_equal(masks[subject.shape], mask)
