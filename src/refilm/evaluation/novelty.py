"""How new a held-out critter is: whether training shows the same one with other eyes. Knows nothing of videos."""

from functools import cache
from typing import Literal

from refilm.data.critters import Subject, subjects

Novelty = Literal["eyes", "combination"]


def novelty(subject: Subject) -> Novelty:
    """What of a held-out subject training never shows.

    Returns:
        `eyes` where a training subject differs from it in the eyes alone; `combination` where none has its shape,
        its two colors and its pattern together, whatever the eyes.

    Raises:
        ValueError: the subject is one of training's.
    """
    known = _eyes_in_training().get(_combination(subject), frozenset())
    if subject.eyes in known:
        raise ValueError(f"{subject.looks}: a subject of the training split is not new")
    return "eyes" if known else "combination"


def _combination(subject: Subject) -> tuple[str, ...]:
    return subject.shape, subject.color, subject.second, subject.pattern


@cache
def _eyes_in_training() -> dict[tuple[str, ...], frozenset[str]]:
    """The eyes with which training shows a combination."""
    shown: dict[tuple[str, ...], set[str]] = {}
    for subject in subjects("train"):
        shown.setdefault(_combination(subject), set()).add(subject.eyes)
    return {combination: frozenset(eyes) for combination, eyes in shown.items()}
