"""What a validation's scores say of the picture, in words: used, not used, or used at some timesteps only.

Knows numbers and words alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CERTAIN = 3.0  # standard errors from which on a difference counts as one
RELEVANT = 1e-3  # share of the loss below which a difference counts as none, however certain it is
NOISE = {"q1": "the least noise", "q2": "little noise", "q3": "much noise", "q4": "the most noise"}


@dataclass(frozen=True)
class Verdict:
    """What a validation found."""

    used: bool
    """Whether the picture makes a difference."""
    words: str
    """The same for people, with figures and with what to try."""


def verdict(scores: Mapping[str, float]) -> Verdict | None:
    """What the scores of `measure` say; none where they say nothing of a picture.

    A picture is used where another subject's costs more: by three standard errors at least, and by a thousandth of
    the loss. Where all held-out clips show one subject, being without it has to cost more.
    """
    if "right" not in scores:
        return None
    return _against_another(scores) if "gap" in scores else _against_none(scores)


def unused_in_a_row(validations: Iterable[Mapping[str, float]]) -> int:
    """How many of the last validations, without a break, found that the picture is not used."""
    count = 0
    for scores in validations:
        found = verdict(scores)
        count = count + 1 if found is not None and not found.used else 0
    return count


def _against_another(scores: Mapping[str, float]) -> Verdict:
    gap = _difference(scores, "gap")
    if not _counts(scores, "gap"):
        told = f"right and wrong picture give the same loss (gap {gap}): the picture is not being used"
        return Verdict(False, f"{told}{_why(scores)}")
    if scores["gap"] < 0:
        told = f"the right picture gives a higher loss than a wrong one (gap {gap}): the picture misleads"
        return Verdict(False, f"{told}; see whether the references show the subjects of their own clips")
    where = [name for name in NOISE if _counts(scores, "gap", f"/{name}") and scores[f"gap/{name}"] > 0]
    told = f"a wrong picture costs {_percent(scores, 'gap')} more than the right one (gap {gap})"
    if len(where) == len(NOISE) or not where:
        return Verdict(True, f"{told}: the picture is used")
    where_told = " and ".join(NOISE[name] for name in where)
    return Verdict(True, f"{told}: the picture is used, but this shows only with {where_told}")


def _against_none(scores: Mapping[str, float]) -> Verdict:
    told = f"(right - none {_difference(scores, 'help')}; all held-out clips show one subject, so no other to compare)"
    if _counts(scores, "help") and scores["help"] > 0:
        return Verdict(True, f"the picture lowers the loss by {_percent(scores, 'help')} {told}")
    return Verdict(False, f"the loss is the same without the picture {told}: the picture is not being used{_TRY}")


_TRY = (
    "; train longer, raise the learning rate, drop the reference less often, and see that captions do not tell "
    "everything and that references show the subjects of their own clips"
)


def _why(scores: Mapping[str, float]) -> str:
    """What a missing gap goes with, and what to try."""
    if _counts(scores, "help") and scores["help"] > 0:
        return (
            ". The adapter does lower the loss, by "
            f"{_percent(scores, 'help')}, but with any picture: it learned what all clips have in common{_TRY}"
        )
    return _TRY


def _counts(scores: Mapping[str, float], name: str, part: str = "") -> bool:
    """Whether a difference is one: certain and relevant."""
    size, error = abs(scores[f"{name}{part}"]), scores[f"{name}_error{part}"]
    return size > CERTAIN * error and size > RELEVANT * scores[f"right{part}"]


def _difference(scores: Mapping[str, float], name: str) -> str:
    return f"{scores[name]:.4f} +- {scores[f'{name}_error']:.4f}"


def _percent(scores: Mapping[str, float], name: str) -> str:
    return f"{scores[name] / scores['right']:.1%}"
