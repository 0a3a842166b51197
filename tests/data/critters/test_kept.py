"""Rendered clips never change between versions: caches, benchmarks and the model card depend on them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.data import critters

DRAWN = Path(__file__).parent / "fixtures" / "clips.png"  # a row a clip: frames 0, 8 and 16, and portrait 1
CLIPS = [
    (0, 0, "train", "a critter grows in the snow, pink bellied blue ghost with single eyes"),
    (7, 123456, "held_out", "a critter circles on the beach, orange split yellow star with wide eyes"),
    (1, 8191, "train", "a critter moves right in the forest, red bellied purple cone with wide eyes"),
]


@pytest.mark.parametrize("row", range(len(CLIPS)))
def test_clips_stay_what_they_were(row):
    seed, index, split, reported = CLIPS[row]
    assert critters.story(seed, index, split).appearance_caption == reported
    frames = critters.draw_video(seed, index, split)[::8]
    drawn = np.concatenate([*frames, critters.draw_portrait(seed, index, split, number=1, size=64)], axis=1)
    before = np.asarray(Image.open(DRAWN))[64 * row : 64 * (row + 1)]
    assert np.abs(drawn.astype(int) - before).max() <= 1  # sines differ by a bit between processors


def test_the_subjects_that_are_held_out_stay_the_same():
    held_out = critters.subjects("held_out")
    assert (len(held_out), len(critters.subjects("train"))) == (641, 6079)
    assert [one.appearance for one in held_out[::200]] == [
        "red split yellow ball with wide eyes",
        "green spotted blue cone with sleepy eyes",
        "pink bellied green cat with sleepy eyes",
        "green split red heart with wide eyes",
    ]


def test_the_combinations_that_are_held_out_stay_the_same():
    held_out = critters.subjects("held_out_combinations")
    assert (len(held_out), len(critters.subjects("train_combinations"))) == (660, 5483)
    assert [one.appearance for one in held_out[::200]] == [
        "red bellied yellow ball with wide eyes",
        "blue striped red cone with single eyes",
        "red capped yellow bunny with sleepy eyes",
        "blue spotted red heart with wide eyes",
    ]
