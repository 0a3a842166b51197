"""A clip of critters: subject, scene and motion drawn as frames, with its captions and reference picture.

Every clip is a pure function of (seed, index, split); nothing is stored.
"""

from dataclasses import dataclass

import numpy as np

from refilm.data.critters.drawing import draw
from refilm.data.critters.motions import MOTIONS, Track, track
from refilm.data.critters.scenes import SCENES, paint_scene
from refilm.data.critters.subjects import Split, Subject, subjects

FPS = 8
FRAMES = 17
SIZE = 64
PLACES = {
    "meadow": "in the meadow",
    "beach": "on the beach",
    "night": "at night",
    "snow": "in the snow",
    "desert": "in the desert",
    "forest": "in the forest",
}


@dataclass(frozen=True)
class Story:
    """What a clip is about: who does what where."""

    subject: Subject
    motion: str
    scene: str

    @property
    def caption(self) -> str:
        """Motion and scene only: who appears is told by the reference picture alone."""
        return f"a critter {self.motion} {PLACES[self.scene]}"

    @property
    def looks_caption(self) -> str:
        """The caption with the subject's looks, for training a base model without pictures."""
        return f"{self.caption}, {self.subject.looks}"


def story(seed: int, index: int, split: Split) -> Story:
    """The story of clip `index`."""
    rng = np.random.default_rng((seed, index, 0))
    choose = lambda options: options[int(rng.integers(len(options)))]  # noqa: E731
    return Story(choose(subjects(split)), choose(tuple(MOTIONS)), choose(tuple(SCENES)))


def film(
    story: Story, rng: np.random.Generator, *, size: int = SIZE, start: int = 0, frames: int = FRAMES
) -> np.ndarray:
    """Draw a story's frames from `start` on: (F, H, W, 3) uint8. Below 64 pixels it is pixel art, else smooth."""
    stage = paint_scene(story.scene, size, rng)
    canvas = np.repeat(stage[None], frames, axis=0)
    draw(canvas, story.subject, track(story.motion, np.arange(start, start + frames), rng), soft=size >= 64)
    return np.round(canvas).astype(np.uint8)


def portrait(subject: Subject, rng: np.random.Generator, *, size: int = SIZE) -> np.ndarray:
    """A reference picture: the subject alone, turned and scaled, on a plain ground. (H, W, 3) uint8."""
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


def draw_film(seed: int, index: int, split: Split, *, size: int = SIZE) -> np.ndarray:
    """The film of clip `index`: (F, H, W, 3) uint8."""
    return film(story(seed, index, split), np.random.default_rng((seed, index, 4)), size=size)


def draw_portrait(seed: int, index: int, split: Split, *, number: int, size: int) -> np.ndarray:
    """A portrait of the subject of clip `index`, of which there is any number: (H, W, 3) uint8."""
    return portrait(story(seed, index, split).subject, np.random.default_rng((seed, index, 5, number)), size=size)
