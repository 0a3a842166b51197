"""critters: the built-in, procedural data set. Any number of clips from a seed."""

from refilm.data.critters.clips import FPS, FRAMES, SIZE, Story, draw_film, draw_portrait, film, portrait, story
from refilm.data.critters.motions import MOTIONS
from refilm.data.critters.scenes import SCENES
from refilm.data.critters.subjects import COLORS, EYES, PATTERNS, SHAPES, Split, Subject, subjects

__all__ = [
    "COLORS",
    "EYES",
    "FPS",
    "FRAMES",
    "MOTIONS",
    "PATTERNS",
    "SCENES",
    "SHAPES",
    "SIZE",
    "Split",
    "Story",
    "Subject",
    "draw_film",
    "draw_portrait",
    "film",
    "portrait",
    "story",
    "subjects",
]
