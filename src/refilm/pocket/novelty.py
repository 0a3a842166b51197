"""How new a held-out critter is: whether training shows the same critter with other eyes. Does not know videos."""

from functools import cache
from typing import Literal

from refilm.arguments import checked
from refilm.data.critters import Split, Subject, subjects
from refilm.errors import UserError

Novelty = Literal["eyes", "combination"]


@checked
def novelty(subject: Subject, training: Split = "train") -> Novelty:
    """Which property of a held-out subject a training split never shows.

    Returns:
        `eyes` if a training subject differs from it in the eyes alone; `combination` if no training subject has its
        shape, its two colors and its pattern together, with any eyes.

    Raises:
        UserError: the subject is in the training split.
    """
    known = _eyes_in(training).get(_combination(subject), frozenset())
    if subject.eyes in known:
        raise UserError(f"{subject.appearance}: this subject is in the split {training}; choose a held-out subject")
    return "eyes" if known else "combination"


def _combination(subject: Subject) -> tuple[str, ...]:
    return subject.shape, subject.color, subject.second, subject.pattern


@cache
def _eyes_in(training: Split) -> dict[tuple[str, ...], frozenset[str]]:
    """For each combination in a split, the eyes that it appears with."""
    shown: dict[tuple[str, ...], set[str]] = {}
    for subject in subjects(training):
        shown.setdefault(_combination(subject), set()).add(subject.eyes)
    return {combination: frozenset(eyes) for combination, eyes in shown.items()}
