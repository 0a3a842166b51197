"""critters: the built-in procedural data set, with any number of clips for each seed."""

from refilm.data.critters.clips import (
    FPS,
    FRAMES,
    SIZE,
    Shot,
    draw_double,
    draw_double_portrait,
    draw_portrait,
    draw_still,
    draw_video,
    portrait,
    render,
    shoot,
)
from refilm.data.critters.motions import MOTIONS
from refilm.data.critters.scenes import SCENES
from refilm.data.critters.stories import DoubleStory, Story, caption_words, double_story, story
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
    "DoubleStory",
    "Shot",
    "Split",
    "Story",
    "Subject",
    "caption_words",
    "double_story",
    "draw_double",
    "draw_double_portrait",
    "draw_portrait",
    "draw_still",
    "draw_video",
    "portrait",
    "render",
    "shoot",
    "story",
    "subjects",
]
