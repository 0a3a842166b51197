"""The subjects of critters: each is a body shape, two colors, a pattern and a type of eyes.

Does not depend on pixels; `drawing` draws a subject.
"""

import zlib
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

SHAPES = ("ball", "box", "cone", "star", "cat", "bunny", "ghost", "heart")
PATTERNS = ("striped", "spotted", "bellied", "capped", "split")
EYES = ("wide", "sleepy", "single")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 49),
    "orange": (245, 146, 35),
    "yellow": (252, 220, 74),
    "green": (62, 168, 74),
    "blue": (48, 105, 220),
    "purple": (128, 62, 176),
    "pink": (246, 138, 188),
    "white": (244, 244, 240),
}

Split = Literal["train", "held_out", "train_combinations", "held_out_combinations"]
"""The subjects that clips show: `train` has nine tenths of all, `held_out` the others. `held_out_combinations` has a
tenth of all combinations of shape, colors and pattern, with any eyes; `train_combinations` has the subjects that are
in neither of the two held-out splits."""


@dataclass(frozen=True, order=True)
class Subject:
    """One critter. `color` covers the body, `second` the pattern on it."""

    shape: str
    color: str
    second: str
    pattern: str
    eyes: str

    @property
    def appearance(self) -> str:
        """The appearance in words, as in the captions for training the base model."""
        return f"{self.color} {self.pattern} {self.second} {self.shape} with {self.eyes} eyes"

    @property
    def held_out(self) -> bool:
        """Whether no training clip shows this subject: a tenth of all, chosen by a checksum of its appearance."""
        return zlib.crc32(self.appearance.encode()) % 10 == 0

    @property
    def combination_held_out(self) -> bool:
        """Whether no clip of `train_combinations` shows its combination of shape, colors and pattern, with any eyes.

        A subject of `held_out` may differ from a training subject only in its eyes.
        """
        return zlib.crc32(f"{self.color} {self.pattern} {self.second} {self.shape}".encode()) % 10 == 0

    def belongs_to(self, split: Split) -> bool:
        """Whether clips of a split can show this subject."""
        if split == "train_combinations":
            return not (self.held_out or self.combination_held_out)
        if split == "held_out_combinations":
            return self.combination_held_out
        return self.held_out == (split == "held_out")


@cache
def subjects(split: Split) -> tuple[Subject, ...]:
    """All subjects of a split, in a fixed order."""
    everyone = (
        Subject(shape, color, second, pattern, eyes)
        for shape, color, second, pattern, eyes in product(SHAPES, COLORS, COLORS, PATTERNS, EYES)
        if color != second
    )
    return tuple(subject for subject in everyone if subject.belongs_to(split))
