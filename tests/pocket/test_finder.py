"""The finder in benchmarks/, on real held-out clips that its training never used."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from refilm.data import critters
from refilm.data.critters.scenes import paint_scene
from refilm.pocket.finder import CLASSES, Finder
from refilm.pocket.judge import WEIGHTS as JUDGE

from .worsening import blurred, noisy

WEIGHTS = Path(__file__).parents[2] / "benchmarks" / "finder.safetensors"


@cache
def finder() -> Finder:
    return Finder.load(WEIGHTS)


def truth(story: critters.Story | critters.DoubleStory, shot: critters.Shot) -> np.ndarray:
    """The class of each pixel, (F, H, W)."""
    classes = np.zeros(shot.masks.shape[1:], dtype=int)
    for subject, mask in zip(story.subjects, shot.masks, strict=True):
        classes[mask] = CLASSES.index(subject.shape)
    return classes


@cache
def clips() -> list[tuple[np.ndarray, np.ndarray]]:
    """Clips with one and with two critters, and the class of each pixel."""
    stories = [make(321, index, "held_out") for make in (critters.story, critters.double_story) for index in range(10)]
    shots = [critters.shoot(story, np.random.default_rng((321, i))) for i, story in enumerate(stories)]
    return [(shot.frames, truth(story, shot)) for story, shot in zip(stories, shots, strict=True)]


@pytest.mark.parametrize("worsen", [lambda video: video, blurred, noisy], ids=["drawn", "blurred", "noisy"])
def test_it_finds_each_critter_s_pixels_and_shape(worsen):
    for video, classes in clips():
        found = finder().find(worsen(video)).argmax(1)
        both = (found > 0) & (classes > 0)
        assert both.sum() > 0.85 * ((found > 0) | (classes > 0)).sum()
        for shape in set(classes[classes > 0].tolist()):
            values, counts = np.unique(found[classes == shape], return_counts=True)
            assert values[counts.argmax()] == shape


@pytest.mark.parametrize("scene", critters.SCENES)
def test_it_finds_nothing_in_a_scene_without_critters(scene):
    empty = paint_scene(scene, 64, np.random.default_rng(1)).round().astype(np.uint8)[None]
    assert (finder().find(empty).argmax(1) > 0).mean() < 0.005


def test_a_still_and_a_larger_video_are_read_as_a_video_of_64_pixels():
    video, _ = clips()[0]
    larger = video.repeat(2, axis=1).repeat(2, axis=2)
    assert np.array_equal(finder().find(larger), finder().find(video))
    probabilities = finder().find(video[:1])
    assert probabilities.shape == (1, 9, 64, 64)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(("changed", "differ"), [(0, [0, 1]), (8, [7, 8, 9]), (16, [15, 16])])
def test_a_frame_is_read_with_its_neighbors_only(changed, differ):
    video, _ = clips()[0]
    other = video.copy()
    other[changed] = 0
    differs = (finder().find(other) != finder().find(video)).any((1, 2, 3))
    assert np.flatnonzero(differs).tolist() == differ


def test_its_file_is_small_and_written_again_alike(tmp_path):
    finder().save(tmp_path / "finder.safetensors")
    assert (tmp_path / "finder.safetensors").read_bytes() == WEIGHTS.read_bytes()
    assert WEIGHTS.stat().st_size < 500_000


def test_other_videos_and_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 64 pixels"):
        finder().find(np.zeros((17, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=r"train a finder with `python benchmarks/finder\.py`"):
        Finder.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="not the weights of this version's finder"):
        Finder.load(JUDGE)
