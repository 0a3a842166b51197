"""Render clips of critters: subjects, scene and motions as frames, with masks and reference images.

Every clip is a pure function of (seed, index, split) and the number of subjects; nothing is stored.
"""

from typing import NamedTuple

import numpy as np

from refilm.data.critters.drawing import draw
from refilm.data.critters.motions import Track, track
from refilm.data.critters.placing import two_tracks
from refilm.data.critters.scenes import paint_scene
from refilm.data.critters.stories import DoubleStory, Story, double_story, story
from refilm.data.critters.subjects import Split, Subject

FPS = 8
FRAMES = 17
SIZE = 64


class Shot(NamedTuple):
    """The frames and masks of a clip."""

    frames: np.ndarray
    """(F, H, W, 3) uint8"""
    masks: np.ndarray
    """(S, F, H, W) bool: where each of S subjects is visible; parts hidden by another subject are excluded."""


def shoot(
    story: Story | DoubleStory, rng: np.random.Generator, *, size: int = SIZE, start: int = 0, frames: int = FRAMES
) -> Shot:
    """Render a story's frames from `start` on: pixel art below 64 pixels, otherwise with smooth edges."""
    stage = paint_scene(story.scene, size, rng)
    canvas = np.repeat(stage[None], frames, axis=0)
    masks = np.zeros((len(story.subjects), *canvas.shape[:3]), dtype=bool)
    for number, (subject, moving) in enumerate(zip(story.subjects, _tracks(story, start, frames, rng), strict=True)):
        masks[number] = draw(canvas, subject, moving, soft=size >= 64)
        masks[:number] &= ~masks[number]  # later subjects are in front
    return Shot(np.round(canvas).astype(np.uint8), masks)


def render(
    story: Story | DoubleStory, rng: np.random.Generator, *, size: int = SIZE, start: int = 0, frames: int = FRAMES
) -> np.ndarray:
    """The frames of `shoot` alone: (F, H, W, 3) uint8."""
    return shoot(story, rng, size=size, start=start, frames=frames).frames


def _tracks(story: Story | DoubleStory, start: int, frames: int, rng: np.random.Generator) -> tuple[Track, ...]:
    if isinstance(story, Story):
        return (track(story.motion, np.arange(start, start + frames), rng),)
    part = slice(start, start + frames)  # positions depend on the whole clip
    return tuple(
        Track(whole.x[part], whole.y[part], whole.radius[part], whole.angle[part])
        for whole in two_tracks(story.motions, FRAMES, rng)
    )


def portrait(subject: Subject, rng: np.random.Generator, *, size: int = SIZE) -> np.ndarray:
    """A reference image: the subject alone, rotated and scaled, on a plain background. (H, W, 3) uint8."""
    ground = rng.uniform(90, 250, size=3).astype(np.float32)
    canvas = np.broadcast_to(ground, (1, size, size, 3)).copy()
    pose = Track(
        x=np.array([0.5 + rng.uniform(-0.06, 0.06)]),
        y=np.array([0.53 + rng.uniform(-0.06, 0.06)]),
        radius=np.array([rng.uniform(0.27, 0.37)]),
        angle=np.array([rng.uniform(-0.35, 0.35)]),
    )
    draw(canvas, subject, pose, soft=True)
    return np.round(canvas[0]).astype(np.uint8)


def draw_video(seed: int, index: int, split: Split, *, size: int = SIZE) -> np.ndarray:
    """The video of clip `index`: (F, H, W, 3) uint8."""
    return render(story(seed, index, split), np.random.default_rng((seed, index, 4)), size=size)


def draw_still(seed: int, index: int, split: Split, *, size: int = SIZE) -> np.ndarray:
    """A random frame of clip `index`: (H, W, 3) uint8."""
    start = int(np.random.default_rng((seed, index, 9)).integers(FRAMES))
    rng = np.random.default_rng((seed, index, 4))
    return render(story(seed, index, split), rng, size=size, start=start, frames=1)[0]


def draw_double(seed: int, index: int, split: Split, *, size: int = SIZE) -> Shot:
    """Video and masks of two-subject clip `index`."""
    return shoot(double_story(seed, index, split), np.random.default_rng((seed, index, 7)), size=size)


def draw_portrait(seed: int, index: int, split: Split, *, number: int, size: int) -> np.ndarray:
    """Portrait `number` of the subject of clip `index`: (H, W, 3) uint8. Any number is valid."""
    return portrait(story(seed, index, split).subject, np.random.default_rng((seed, index, 5, number)), size=size)


def draw_double_portrait(seed: int, index: int, split: Split, *, subject: int, number: int, size: int) -> np.ndarray:
    """Portrait `number` of subject 0 or 1 of a two-subject clip: (H, W, 3) uint8. Any number is valid."""
    rng = np.random.default_rng((seed, index, 8, subject, number))
    return portrait(double_story(seed, index, split).subjects[subject], rng, size=size)
