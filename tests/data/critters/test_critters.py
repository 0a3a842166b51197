"""Properties of critters: the subjects, clips as pure functions of their index, motions that match their names."""

import dataclasses
import hashlib
import itertools

import numpy as np
import pytest

from refilm.data import critters
from refilm.data.critters import drawing
from refilm.data.critters.motions import Track
from refilm.data.critters.scenes import paint_scene

STEP = critters.SIZE / 32  # pixels that most motions go in a frame
CAT = critters.Subject("cat", "red", "yellow", "bellied", "wide")


def seen(motion: str, seed: int, *, subject: critters.Subject = CAT, size: int = critters.SIZE) -> np.ndarray:
    """Where the critter is visible in a video: everything that is not the scene. (F, H, W) bool."""
    scene = tuple(critters.SCENES)[seed % len(critters.SCENES)]
    video = critters.render(critters.Story(subject, motion, scene), np.random.default_rng(seed), size=size)
    stage = paint_scene(scene, size, np.random.default_rng(seed))
    return (video != np.round(stage).astype(np.uint8)).any(axis=-1)


def centres(mask: np.ndarray) -> np.ndarray:
    """The centers of the silhouettes' bounding boxes, x and y in pixels: (F, 2)."""
    across, down = mask.any(axis=1), mask.any(axis=2)
    middle = lambda line: (line.argmax() + len(line) - 1 - line[::-1].argmax()) / 2  # noqa: E731
    return np.array([(middle(x), middle(y)) for x, y in zip(across, down, strict=True)])


# --- subjects ----------------------------------------------------------------------------------------


def test_thousands_of_subjects_of_which_a_tenth_is_held_out():
    train, held_out = critters.subjects("train"), critters.subjects("held_out")
    assert len(train) + len(held_out) == 8 * 8 * 7 * 5 * 3
    assert not set(train) & set(held_out)
    assert 0.09 < len(held_out) / (len(train) + len(held_out)) < 0.11
    assert len({subject.appearance for subject in train + held_out}) == len(train) + len(held_out)


def test_the_held_out_are_the_same_for_good():
    """Models were trained without exactly these critters; another split would score them on training subjects."""
    names = sorted(subject.appearance for subject in critters.subjects("held_out"))
    assert len(names) == 641
    assert {"red split yellow ball with wide eyes", "white bellied pink heart with wide eyes"} < set(names)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    assert digest == "99ab7be467525c38a115b3d3ef727dbf83688d16275d5565a40042e86a74c7af"


@pytest.mark.parametrize("part", ["shape", "color", "second", "pattern", "eyes"])
def test_every_part_of_a_held_out_critter_is_known_from_training(part):
    counts = {split: {} for split in ("train", "held_out")}
    for split, count in counts.items():
        for subject in critters.subjects(split):
            count[getattr(subject, part)] = count.get(getattr(subject, part), 0) + 1
    assert counts["held_out"].keys() == counts["train"].keys()
    assert max(counts["held_out"].values()) < 2 * min(counts["held_out"].values())


# --- stories -----------------------------------------------------------------------------------------


def drawn(seed: int, index: int, split: critters.Split) -> tuple[critters.Story, np.ndarray, np.ndarray]:
    story = critters.story(seed, index, split)
    rng = np.random.default_rng((seed, index))
    return story, critters.render(story, rng), critters.portrait(story.subject, rng)


def test_a_clip_is_a_function_of_seed_index_and_split():
    for index, split in itertools.product((0, 1, 999_999_999), ("train", "held_out")):
        for first, again in zip(drawn(3, index, split), drawn(3, index, split), strict=True):
            assert np.array_equal(first, again)
    videos = [drawn(*key)[1].tobytes() for key in itertools.product((3, 4), range(20), ("train", "held_out"))]
    assert len(set(videos)) == len(videos)


def test_a_split_shows_its_own_subjects_and_everything_there_is():
    for split in ("train", "held_out"):
        stories = [critters.story(0, index, split) for index in range(2000)]
        assert all(story.subject.held_out == (split == "held_out") for story in stories)
        assert {story.motion for story in stories} == set(critters.MOTIONS)
        assert {story.scene for story in stories} == set(critters.SCENES)


def test_captions_tell_motion_and_scene_and_never_the_looks():
    looks = {*critters.SHAPES, *critters.COLORS, *critters.PATTERNS, *critters.EYES, "eyes"}
    captions = {}
    for motion, scene in itertools.product(critters.MOTIONS, critters.SCENES):
        story = critters.Story(CAT, motion, scene)
        captions[story.caption] = story
        assert motion in story.caption
        assert scene in story.caption
        assert not looks & set(story.caption.split())
        assert story.caption == dataclasses.replace(story, subject=critters.subjects("train")[0]).caption
        assert story.appearance_caption == f"{story.caption}, {CAT.appearance}"
    assert len(captions) == len(critters.MOTIONS) * len(critters.SCENES)


def test_part_of_a_video_is_a_part_of_the_video():
    story = critters.story(0, 0, "train")
    whole = critters.render(story, np.random.default_rng(0))
    part = critters.render(story, np.random.default_rng(0), start=5, frames=4)
    assert np.array_equal(part, whole[5:9])


# --- motions, as videos show them ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("motion", "x", "y"), [("moves left", -1, 0), ("moves right", 1, 0), ("rises", 0, -1), ("falls", 0, 1)]
)
def test_straight_motions_go_one_way_at_one_pace(motion, x, y):
    for seed in range(12):
        steps = np.diff(centres(np.pad(seen(motion, seed), ((0, 0), (9, 9), (9, 9)))), axis=0) / STEP
        assert np.abs(steps - (x, y)).max() <= 0.5  # at the rim of the image bounds move by halves
        assert np.abs(steps.sum(axis=0) - (16 * x, 16 * y)).max() <= 4


def test_bouncing_goes_up_and_down_twice_and_nowhere_else():
    for seed in range(12):
        x, y = centres(seen("bounces", seed)).T
        assert np.ptp(x) == 0
        assert y[0] == y[8] == y[16] == y.max()
        assert y[4] == y[12] == y.min()
        assert y.max() - y.min() == 5 * STEP


def test_circling_goes_once_round():
    for seed in range(12):
        path = centres(seen("circles", seed)) / STEP
        assert np.abs(path[16] - path[0]).max() == 0
        spokes = path[:-1] - path[:-1].mean(axis=0)
        assert np.abs(np.hypot(*spokes.T) - 5).max() < 1.2
        turn = np.diff(np.unwrap(np.arctan2(spokes[:, 1], spokes[:, 0])))
        assert (turn > 0).all()


@pytest.mark.parametrize(("motion", "order"), [("grows", 1), ("shrinks", -1)])
def test_growing_and_shrinking_change_the_size_alone(motion, order):
    for seed in range(12):
        mask = seen(motion, seed)
        area = mask.sum(axis=(1, 2))[::order]
        assert (np.diff(area) >= 0).all()
        assert area[-1] > 3.5 * area[0]
        assert np.ptp(centres(mask), axis=0).max() <= 2  # ears do not grow downwards


def test_spinning_is_half_a_turn_on_the_spot():
    for seed in range(12):
        video = seen("spins", seed)
        assert np.ptp(video.sum(axis=(1, 2))) < 0.1 * video[0].sum()
        mass = np.array([np.argwhere(mask).mean(axis=0) for mask in video])
        assert np.ptp(mass, axis=0).max() < 4  # about a point that is not quite the mass's middle
        assert (video[1:] != video[:-1]).any(axis=(1, 2)).all()
        assert np.array_equal(cut(video[16]), cut(video[0])[::-1, ::-1])
        assert not np.array_equal(cut(video[16]), cut(video[0]))


def cut(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_waiting_is_standing_still():
    for seed in range(12):
        video = critters.render(critters.Story(CAT, "waits", "night"), np.random.default_rng(seed))
        assert (video == video[0]).all()


@pytest.mark.parametrize("motion", critters.MOTIONS)
def test_no_step_is_too_long_for_the_autoencoder(motion):
    for seed in range(30):
        track = critters.MOTIONS[motion](np.arange(critters.FRAMES, dtype=float), np.random.default_rng(seed))
        steps = 32 * np.hypot(np.diff(track.x), np.diff(track.y))
        assert steps.max() <= 3
        assert 32 * np.abs(np.diff(track.radius)).max() < 0.5


@pytest.mark.parametrize("motion", critters.MOTIONS)
def test_critters_stay_in_sight(motion):
    share = []
    for seed, subject in enumerate(critters.subjects("held_out")[::20]):
        track = critters.MOTIONS[motion](np.arange(critters.FRAMES, dtype=float), np.random.default_rng(seed))
        shown = drawing.draw(canvas(critters.FRAMES, 32), subject, track).sum(axis=(1, 2))
        middle = dataclasses.replace(track, x=np.full_like(track.x, 0.5), y=np.full_like(track.y, 0.5))
        share.append(shown / drawing.draw(canvas(critters.FRAMES, 32), subject, middle).sum(axis=(1, 2)))
    assert np.min(share) > 0.75
    assert np.mean(share) > 0.95


# --- drawing -----------------------------------------------------------------------------------------


def canvas(frames: int, size: int) -> np.ndarray:
    return np.full((frames, size, size, 3), 77, dtype=np.float32)


@pytest.mark.parametrize("soft", [False, True])
def test_looking_at_the_critter_alone_draws_what_looking_everywhere_draws(soft, monkeypatch):
    rng = np.random.default_rng(0)
    everyone = critters.subjects("train") + critters.subjects("held_out")
    subjects = [everyone[i] for i in rng.integers(len(everyone), size=150)]
    tracks = [
        Track(rng.random(3), rng.random(3), rng.uniform(0.1, 0.4, size=3), rng.uniform(0, 7, size=3)) for _ in subjects
    ]

    def draw_all():
        canvases = [canvas(3, 32) for _ in subjects]
        places = [drawing.draw(*scene, soft=soft) for scene in zip(canvases, subjects, tracks, strict=True)]
        return np.stack(canvases), np.stack(places)

    quick = draw_all()
    monkeypatch.setattr(drawing, "REACH", 100)
    for fast, plain in zip(quick, draw_all(), strict=True):
        assert np.array_equal(fast, plain)


def test_pixel_art_has_flat_colors_and_a_portrait_soft_edges():
    story = critters.Story(CAT, "spins", "night")
    colors = np.unique(critters.render(story, np.random.default_rng(0), size=32).reshape(-1, 3), axis=0)
    assert {critters.COLORS["red"], critters.COLORS["yellow"]} <= {tuple(color) for color in colors.tolist()}
    assert len(colors) < 14
    portrait = critters.portrait(CAT, np.random.default_rng(0), size=128)
    assert portrait.shape == (128, 128, 3)
    assert len(np.unique(portrait.reshape(-1, 3), axis=0)) > 100


def test_portraits_show_the_critter_on_a_plain_ground():
    touched = []
    for seed, subject in enumerate(critters.subjects("held_out")[::7]):
        image = critters.portrait(subject, np.random.default_rng(seed), size=64)
        ground = image[0, 0]
        rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        touched.append((rim != ground).any(axis=-1).mean())
        assert 0.15 < (image != ground).any(axis=-1).mean() < 0.6
    assert np.mean(touched) < 0.01  # the tip of an ear may be cut off
    assert np.max(touched) < 0.2
