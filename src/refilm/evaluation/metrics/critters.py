"""The judge of critters: which critter a video shows, where, and what it does, compared with its case."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from refilm.evaluation.case import Sample
from refilm.evaluation.metric import Column
from refilm.files import sha256_of
from refilm.pocket.judge import ATTRIBUTES, SIZE, WEIGHTS, Judge, Judgement

SUBJECT = ("color", "second", "shape", "pattern", "eyes")
SENTENCES = {
    "color": "Whether the critter has the body color of the reference.",
    "second": "Whether the critter has the second color of the reference.",
    "shape": "Whether the critter has the shape of the reference.",
    "pattern": "Whether the critter has the pattern of the reference.",
    "eyes": "Whether the critter has the eyes of the reference.",
    "motion": "Whether the critter moves as the prompt says.",
    "scene": "Whether the critter is where the prompt says.",
    "all": "Whether all seven attributes are right.",
}


class Critters:
    """Classifies videos with `refilm.pocket.judge`, on the CPU, where it takes milliseconds.

    The case's `details` are the right attributes.
    """

    columns: ClassVar = (
        Column(
            "likeness", "Fraction of the critter's five attributes that are right, averaged over frames; 0 to 1.", 0.0
        ),
        *(Column(name, sentence, 0.0, hit=True) for name, sentence in SENTENCES.items()),
    )

    def __init__(self, device: str = "cpu"):
        self.identity: Mapping[str, str] = {
            "judge": sha256_of(WEIGHTS),
            "frames": "all",
            "size": f"{SIZE} x {SIZE}, box-filtered",
        }

    @cached_property
    def _judge(self) -> Judge:
        return Judge.load(WEIGHTS)

    def score(self, sample: Sample) -> Mapping[str, float | Sequence[float]]:
        """The columns' values of a square video with at least 9 frames; likeness has one for each frame.

        Raises:
            UserError: the video is smaller, shorter, or not square.
        """
        right = Judgement(**{name: sample.case.details[name] for name in ATTRIBUTES})
        (seen,) = self._judge.judge([sample.frames])
        hits = seen.matches(right)
        frames = self._judge.judge_frames(sample.frames)
        likeness = [float(np.mean([frame[name] == getattr(right, name) for name in SUBJECT])) for frame in frames]
        return {
            "likeness": likeness,
            **{name: float(hits[name]) for name in SENTENCES if name != "all"},
            "all": float(all(hits.values())),
        }
