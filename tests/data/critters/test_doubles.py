"""Two critters in one clip: their subjects, their independent motions, and their masks."""

import itertools

import numpy as np
import pytest

from refilm.data import critters
from refilm.data.critters import clips
from refilm.data.critters.motions import Track
from refilm.data.critters.placing import nearest, two_tracks
from refilm.data.critters.scenes import paint_scene

PAIRS = [pair for pair in itertools.product(critters.MOTIONS, repeat=2) if pair[0] != pair[1]]
SPLITS = ("train", "held_out", "train_combinations", "held_out_combinations")


def combination(subject: critters.Subject) -> tuple[str, ...]:
    return subject.shape, subject.color, subject.second, subject.pattern


def test_whole_combinations_are_held_out():
    train, held_out = (critters.subjects(split) for split in ("train_combinations", "held_out_combinations"))
    everyone = {*critters.subjects("train"), *critters.subjects("held_out")}
    assert 0.08 < len(held_out) / len(everyone) < 0.12
    assert not {combination(one) for one in train} & {combination(one) for one in held_out}
    assert {combination(one) for one in critters.subjects("train")} & {combination(one) for one in held_out}
    assert everyone - {*train, *held_out} == {*critters.subjects("held_out")} - {*held_out}


@pytest.mark.parametrize("split", SPLITS)
def test_a_story_has_two_shapes_and_two_motions_of_its_split(split):
    stories = [critters.double_story(0, index, split) for index in range(150)]
    for story in stories:
        first, second = story.subjects
        assert {first, second} <= set(critters.subjects(split))
        assert first.shape != second.shape
        assert story.motions[0] != story.motions[1]
    for order in (0, 1):
        assert {story.subjects[order].shape for story in stories} == set(critters.SHAPES)
        assert {story.motions[order] for story in stories} == set(critters.MOTIONS)


def test_captions_name_shapes_motions_and_scene_and_no_other_looks():
    cat = critters.Subject("cat", "red", "yellow", "bellied", "wide")
    star = critters.Subject("star", "blue", "white", "split", "single")
    story = critters.DoubleStory((cat, star), ("moves left", "bounces"), "snow")
    assert story.caption == story.class_caption == "a cat moves left and a star bounces in the snow"
    assert story.appearance_caption == f"{story.caption}, {cat.appearance}, {star.appearance}"
    assert critters.Story(cat, "rises", "night").class_caption == "a cat rises at night"


def test_a_clip_is_a_function_of_seed_index_and_split():
    keys = list(itertools.product((3, 4), (0, 999_999_999), ("train", "held_out")))
    videos = [critters.draw_double(*key).frames.tobytes() for key in keys]
    assert videos == [critters.draw_double(*key).frames.tobytes() for key in keys]
    assert len(set(videos)) == len(keys)
    portraits = [
        critters.draw_double_portrait(3, 0, "train", subject=subject, number=number, size=16).tobytes()
        for subject, number in itertools.product((0, 1), (0, 1))
    ]
    assert len(set(portraits)) == 4


def test_part_of_a_video_is_a_part_of_the_video():
    story = critters.double_story(0, 0, "train")
    whole = critters.shoot(story, np.random.default_rng(0))
    part = critters.shoot(story, np.random.default_rng(0), start=5, frames=4)
    assert np.array_equal(part.frames, whole.frames[5:9])
    assert np.array_equal(part.masks, whole.masks[:, 5:9])


@pytest.mark.parametrize("motions", PAIRS, ids=" ".join)
def test_two_stay_in_sight_and_do_not_cross(motions):
    for seed in range(4):
        tracks = two_tracks(motions, critters.FRAMES, np.random.default_rng(seed))
        assert nearest(*tracks) > 0.85
        for one in tracks:
            for along in (one.x, one.y):
                assert ((along - one.radius > 0) & (along + one.radius < 1)).all()


def test_each_goes_the_way_that_its_motion_says():
    ways = {"moves left": (-0.5, 0), "moves right": (0.5, 0), "rises": (0, -0.5), "falls": (0, 0.5), "waits": (0, 0)}
    for motions in PAIRS:
        for motion, one in zip(motions, two_tracks(motions, critters.FRAMES, np.random.default_rng(5)), strict=True):
            if motion in ways:
                assert (one.x[-1] - one.x[0], one.y[-1] - one.y[0]) == ways[motion]
            assert 32 * np.hypot(np.diff(one.x), np.diff(one.y)).max() <= 3
    circling, _ = two_tracks(("circles", "waits"), critters.FRAMES, np.random.default_rng(5))
    assert np.ptp(circling.x) == np.ptp(circling.y) == 6 / 32


def test_a_mask_is_where_its_subject_shows():
    for index in range(12):
        story = critters.double_story(2, index, "held_out")
        shot = critters.shoot(story, np.random.default_rng(index), size=32)
        stage = np.round(paint_scene(story.scene, 32, np.random.default_rng(index))).astype(np.uint8)
        for frame, shown in zip(shot.frames, shot.masks.any(axis=0), strict=True):
            assert np.array_equal(frame[~shown], stage[~shown])
        for subject, mask in zip(story.subjects, shot.masks, strict=True):
            colors = {tuple(color) for color in shot.frames[mask].tolist()}
            paints = {critters.COLORS[subject.color], critters.COLORS[subject.second]}
            assert paints <= colors <= paints | {(26, 22, 38), (252, 252, 252)}  # and ink, and chalk


def test_what_is_hidden_is_in_no_mask(monkeypatch):
    here = Track(*(np.full(critters.FRAMES, value) for value in (0.5, 0.5, 0.2, 0.0)))
    monkeypatch.setattr(clips, "two_tracks", lambda *_: (here, here))
    story = critters.double_story(0, 3, "train")
    behind, before = critters.shoot(story, np.random.default_rng(0)).masks
    alone = critters.Story(story.subjects[1], "waits", story.scene)
    monkeypatch.setattr(clips, "track", lambda *_: here)
    assert np.array_equal(before, critters.shoot(alone, np.random.default_rng(0)).masks[0])
    assert not (behind & before).any()
