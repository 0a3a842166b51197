"""Who can appear: a critter is a body shape, two colors, a pattern and a kind of eyes.

Knows nothing of pixels; `drawing` gives a subject its looks.
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

Split = Literal["train", "held_out"]


@dataclass(frozen=True, order=True)
class Subject:
    """One critter. `color` covers the body, `second` the pattern on it."""

    shape: str
    color: str
    second: str
    pattern: str
    eyes: str

    @property
    def looks(self) -> str:
        """The looks in words, as base training's captions tell them."""
        return f"{self.color} {self.pattern} {self.second} {self.shape} with {self.eyes} eyes"

    @property
    def held_out(self) -> bool:
        """Whether no training clip ever shows this subject: a tenth of all, by its name's checksum."""
        return zlib.crc32(self.looks.encode()) % 10 == 0


@cache
def subjects(split: Split) -> tuple[Subject, ...]:
    """All subjects of a split, in a fixed order."""
    everyone = (
        Subject(shape, color, second, pattern, eyes)
        for shape, color, second, pattern, eyes in product(SHAPES, COLORS, COLORS, PATTERNS, EYES)
        if color != second
    )
    return tuple(subject for subject in everyone if subject.held_out == (split == "held_out"))
