"""How new a held-out critter is: whether training shows the same one with other eyes. Knows nothing of videos."""

from functools import cache
from typing import Literal

from refilm.arguments import checked
from refilm.data.critters import Split, Subject, subjects

Novelty = Literal["eyes", "combination"]


@checked
def novelty(subject: Subject, training: Split = "train") -> Novelty:
    """What of a held-out subject a training split never shows.

    Returns:
        `eyes` where a training subject differs from it in the eyes alone; `combination` where none has its shape,
        its two colors and its pattern together, whatever the eyes.

    Raises:
        ValueError: the subject is one of training's.
    """
    known = _eyes_in(training).get(_combination(subject), frozenset())
    if subject.eyes in known:
        raise ValueError(f"{subject.looks}: a subject of the split {training} is not new to it")
    return "eyes" if known else "combination"


def _combination(subject: Subject) -> tuple[str, ...]:
    return subject.shape, subject.color, subject.second, subject.pattern


@cache
def _eyes_in(training: Split) -> dict[tuple[str, ...], frozenset[str]]:
    """The eyes with which a split shows a combination."""
    shown: dict[tuple[str, ...], set[str]] = {}
    for subject in subjects(training):
        shown.setdefault(_combination(subject), set()).add(subject.eyes)
    return {combination: frozenset(eyes) for combination, eyes in shown.items()}
