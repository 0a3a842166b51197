"""The content of a critters clip as text: subjects, motions and scene. Does not depend on pixels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from refilm.data.critters.motions import MOTIONS
from refilm.data.critters.scenes import SCENES
from refilm.data.critters.subjects import Split, Subject, subjects

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
    """One critter in a scene."""

    subject: Subject
    motion: str
    """Empty for a still."""
    scene: str

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """All subjects of the clip."""
        return (self.subject,)

    @property
    def still(self) -> "Story":
        """The story of a frame of the clip: its captions name no motion."""
        return replace(self, motion="")

    @property
    def caption(self) -> str:
        """Motion and scene only; the reference image alone identifies the subject."""
        return self._caption("critter")

    @property
    def class_caption(self) -> str:
        """The caption with the critter's shape as the subject's class."""
        return self._caption(self.subject.shape)

    @property
    def appearance_caption(self) -> str:
        """The caption with the subject's appearance, for training a base model without images."""
        return f"{self.caption}, {self.subject.appearance}"

    def _caption(self, who: str) -> str:
        return " ".join(filter(None, ("a", who, self.motion, PLACES[self.scene])))


@dataclass(frozen=True)
class DoubleStory:
    """Two critters of different shapes in one scene, each with its own motion."""

    subjects: tuple[Subject, Subject]
    motions: tuple[str, str]
    scene: str

    @property
    def caption(self) -> str:
        """Both shapes with their motions, and the scene; the reference images define colors and patterns."""
        parts = (f"a {one.shape} {motion}" for one, motion in zip(self.subjects, self.motions, strict=True))
        return f"{' and '.join(parts)} {PLACES[self.scene]}"

    @property
    def class_caption(self) -> str:
        """The caption, which already contains the shapes: they are required to assign the motions."""
        return self.caption

    @property
    def appearance_caption(self) -> str:
        """The caption with the appearance of both subjects, for training a base model without images."""
        return ", ".join((self.caption, *(one.appearance for one in self.subjects)))


def caption_words() -> tuple[str, ...]:
    """All words of single-subject captions, with and without the subject's appearance."""
    captions = [Story(one, motion, scene).appearance_caption for one, motion, scene in _every()]
    return tuple(sorted({word for caption in captions for word in caption.replace(",", "").split()}))


def _every() -> Iterator[tuple[Subject, str, str]]:
    """Combinations that contain each subject, motion and scene at least once."""
    everyone = (*subjects("train"), *subjects("held_out"))
    first = everyone[0]
    yield from ((one, next(iter(MOTIONS)), next(iter(SCENES))) for one in everyone)
    yield from ((first, motion, scene) for motion in MOTIONS for scene in SCENES)


def story(seed: int, index: int, split: Split) -> Story:
    """The story of clip `index`."""
    rng = np.random.default_rng((seed, index, 0))
    choose = lambda options: options[int(rng.integers(len(options)))]  # noqa: E731
    return Story(choose(subjects(split)), choose(tuple(MOTIONS)), choose(tuple(SCENES)))


def double_story(seed: int, index: int, split: Split) -> DoubleStory:
    """The story of two-subject clip `index`."""
    rng = np.random.default_rng((seed, index, 6))
    first, *others = rng.permutation(len(subjects(split))).tolist()
    everyone = subjects(split)
    second = next(other for other in others if everyone[other].shape != everyone[first].shape)
    one, two = rng.choice(len(MOTIONS), size=2, replace=False).tolist()
    motions = tuple(MOTIONS)
    scene = tuple(SCENES)[int(rng.integers(len(SCENES)))]
    return DoubleStory((everyone[first], everyone[second]), (motions[one], motions[two]), scene)
