"""Reference usage: interprets a validation's scores as used, unused or undecided (too few samples), with advice.

Works only on numbers and text.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CERTAIN = 3.0  # standard errors above which a difference is significant
RELEVANT = 1e-3  # fraction of the loss below which a difference is irrelevant, even if significant
MOST = 1_000_000  # samples; larger numbers are not printed
ONE_SUBJECT = "all validation clips show one subject, so there is no other to compare with"
NOISE = {"q1": "the least noise", "q2": "little noise", "q3": "much noise", "q4": "the most noise"}


@dataclass(frozen=True)
class Usage:
    """Whether a validation found that the reference is used."""

    outcome: Literal["used", "unused", "undecided"]
    """Whether the reference makes a difference. `unused` also needs evidence: a relevant difference is ruled out."""
    words: str
    """The outcome in a sentence, with figures and advice."""

    @property
    def used(self) -> bool:
        """Whether the reference makes a difference."""
        return self.outcome == "used"


def usage_of(scores: Mapping[str, float], *, samples: int, dropped: bool = False) -> Usage | None:
    """Interpret the scores of `measure`; None if they compare no references.

    The reference is used if a reference of another subject increases the loss by at least three standard errors and a
    thousandth of the loss. It is unused if an increase of a thousandth of the loss is at least three standard errors
    above the measured one. Otherwise there are too few samples. If all validation clips show one subject, the loss
    without a reference is compared instead.

    Args:
        scores: of one validation.
        samples: number of samples of the validation.
        dropped: whether the run drops references; only then is dropping less often advised.
    """
    if "right" not in scores:
        return None
    return _Reading(scores, samples, dropped).usage()


def unused_in_a_row(validations: Iterable[Mapping[str, float]]) -> int:
    """Number of consecutive last validations that found that the reference is not used."""
    count = 0
    for scores in validations:
        found = "right" in scores and _outcome(scores, "gap" if "gap" in scores else "help") in ("unused", "misleads")
        count = count + 1 if found else 0
    return count


def _outcome(scores: Mapping[str, float], name: str, part: str = "") -> str:
    """Classify a difference by its standard error: used, misleads, unused or undecided."""
    size, error = scores[f"{name}{part}"], scores[f"{name}_error{part}"]
    relevant = RELEVANT * scores[f"right{part}"]
    if abs(size) > CERTAIN * error and abs(size) > relevant:
        return "used" if size > 0 else "misleads"
    return "unused" if size + CERTAIN * error <= relevant else "undecided"


@dataclass(frozen=True)
class _Reading:
    """One validation's scores, and their description."""

    scores: Mapping[str, float]
    samples: int
    dropped: bool

    def usage(self) -> Usage:
        name = "gap" if "gap" in self.scores else "help"
        outcome = _outcome(self.scores, name)
        if outcome == "undecided":
            return Usage("undecided", self._undecided(name))
        words = self._against_another(outcome) if name == "gap" else self._against_none(outcome)
        return Usage("used" if outcome == "used" else "unused", words)

    def _against_another(self, outcome: str) -> str:
        gap = self._difference("gap")
        if outcome == "unused":
            found = f"the right and a wrong reference give the same loss (gap {gap}): the reference is not used"
            return f"{found}{self._why()}"
        if outcome == "misleads":
            found = f"the right reference gives a higher loss than a wrong one (gap {gap}): the reference misleads"
            return f"{found}; check that the references show the subjects of their own clips"
        where = [name for name in NOISE if _outcome(self.scores, "gap", f"/{name}") == "used"]
        found = f"a wrong reference increases the loss by {self._percent('gap')} (gap {gap}): the reference is used"
        if len(where) == len(NOISE) or not where:
            return found
        return f"{found}, but only with {' and '.join(NOISE[name] for name in where)}"

    def _against_none(self, outcome: str) -> str:
        found = f"(none - right {self._difference('help')}; {ONE_SUBJECT})"
        if outcome == "used":
            return f"the reference lowers the loss by {self._percent('help')} {found}"
        if outcome == "misleads":
            return f"the loss is lower without the reference {found}: the reference misleads{self._advice()}"
        return f"the loss is the same without the reference {found}: the reference is not used{self._advice()}"

    def _undecided(self, name: str) -> str:
        against = "a wrong reference" if name == "gap" else "omitting the reference"
        found = f"undecided whether {against} increases the loss ({name} {self._difference(name)})"
        if not math.isfinite(self.scores[name]):
            return f"{found}: the losses are not finite"
        return (
            f"{found}: {self.samples} samples are too few, {self._enough(name)} (diffusion.validation.samples; ideally "
            "with as many validation clips)"
        )

    def _enough(self, name: str) -> str:
        """Number of samples that would decide, if the difference is as measured; its error falls with their root."""
        size, relevant = self.scores[name], RELEVANT * self.scores["right"]
        distance = size if size > relevant else relevant - size
        wanted = self.samples * (CERTAIN * self.scores[f"{name}_error"] / max(distance, 1e-12)) ** 2
        if wanted > MOST:
            return f"more than {MOST:,} are needed"
        places = 1 - math.floor(math.log10(wanted))
        return f"about {math.ceil(wanted * 10**places) / 10**places:,.0f} are needed"

    def _why(self) -> str:
        """A likely reason for a missing gap, and advice."""
        if _outcome(self.scores, "help") != "used":
            return self._advice()
        return (
            f". The adapter lowers the loss by {self._percent('help')}, but with any reference: it learned what all "
            f"clips have in common{self._advice()}"
        )

    def _advice(self) -> str:
        less = "drop the reference less often, " if self.dropped else ""
        return (
            f"; train longer, raise the learning rate, {less}and check that captions do not describe the subject fully "
            "and that references show the subjects of their own clips"
        )

    def _difference(self, name: str) -> str:
        return f"{self.scores[name]:.4f} +- {self.scores[f'{name}_error']:.4f}"

    def _percent(self, name: str) -> str:
        return f"{self.scores[name] / self.scores['right']:.1%}"
