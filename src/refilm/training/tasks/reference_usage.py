"""What a validation's scores say of the image, in words: used, not used, or undecided, for samples are too few.

Knows numbers and words alone.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CERTAIN = 3.0  # standard errors from which on a difference counts as one
RELEVANT = 1e-3  # share of the loss below which a difference counts as none, however certain it is
MOST = 1_000_000  # samples; more are not worth naming
ONE_SUBJECT = "all held-out clips show one subject, so no other to compare"
NOISE = {"q1": "the least noise", "q2": "little noise", "q3": "much noise", "q4": "the most noise"}


@dataclass(frozen=True)
class Verdict:
    """What a validation found."""

    outcome: Literal["used", "unused", "undecided"]
    """Whether the image makes a difference. `unused` wants evidence too: that none that matters can be hidden."""
    words: str
    """The same for people, with figures and with what to try."""

    @property
    def used(self) -> bool:
        """Whether the image was found to make a difference."""
        return self.outcome == "used"


def verdict(scores: Mapping[str, float], *, samples: int, dropped: bool = False) -> Verdict | None:
    """What the scores of `measure` say; none where they say nothing of an image.

    An image is used where another subject's costs more: by three standard errors at least, and by a thousandth of
    the loss. It is not used where a difference of a thousandth of the loss lies three standard errors above what was
    found. Otherwise the samples are too few to tell. Where all held-out clips show one subject, being without it has
    to cost more.

    Args:
        scores: of one validation.
        samples: how many they are means of.
        dropped: whether the run leaves references out now and then; only then it can do so less often.
    """
    if "right" not in scores:
        return None
    return _Reading(scores, samples, dropped).verdict()


def unused_in_a_row(validations: Iterable[Mapping[str, float]]) -> int:
    """How many of the last validations, without a break, found that the image is not used."""
    count = 0
    for scores in validations:
        found = "right" in scores and _outcome(scores, "gap" if "gap" in scores else "help") in ("unused", "misleads")
        count = count + 1 if found else 0
    return count


def _outcome(scores: Mapping[str, float], name: str, part: str = "") -> str:
    """What a difference and its standard error say: used, misleads, unused or undecided."""
    size, error = scores[f"{name}{part}"], scores[f"{name}_error{part}"]
    relevant = RELEVANT * scores[f"right{part}"]
    if abs(size) > CERTAIN * error and abs(size) > relevant:
        return "used" if size > 0 else "misleads"
    return "unused" if size + CERTAIN * error <= relevant else "undecided"


@dataclass(frozen=True)
class _Reading:
    """One validation's scores, and what to say of them."""

    scores: Mapping[str, float]
    samples: int
    dropped: bool

    def verdict(self) -> Verdict:
        name = "gap" if "gap" in self.scores else "help"
        outcome = _outcome(self.scores, name)
        if outcome == "undecided":
            return Verdict("undecided", self._undecided(name))
        words = self._against_another(outcome) if name == "gap" else self._against_none(outcome)
        return Verdict("used" if outcome == "used" else "unused", words)

    def _against_another(self, outcome: str) -> str:
        gap = self._difference("gap")
        if outcome == "unused":
            told = f"right and wrong image give the same loss (gap {gap}): the image is not being used"
            return f"{told}{self._why()}"
        if outcome == "misleads":
            told = f"the right image gives a higher loss than a wrong one (gap {gap}): the image misleads"
            return f"{told}; see whether the references show the subjects of their own clips"
        where = [name for name in NOISE if _outcome(self.scores, "gap", f"/{name}") == "used"]
        told = f"a wrong image costs {self._percent('gap')} more than the right one (gap {gap}): the image is used"
        if len(where) == len(NOISE) or not where:
            return told
        return f"{told}, but this shows only with {' and '.join(NOISE[name] for name in where)}"

    def _against_none(self, outcome: str) -> str:
        told = f"(none - right {self._difference('help')}; {ONE_SUBJECT})"
        if outcome == "used":
            return f"the image lowers the loss by {self._percent('help')} {told}"
        if outcome == "misleads":
            return f"the loss is lower without the image {told}: the image misleads{self._advice()}"
        return f"the loss is the same without the image {told}: the image is not being used{self._advice()}"

    def _undecided(self, name: str) -> str:
        against = "a wrong image costs" if name == "gap" else "being without the image costs"
        told = f"undecided whether {against} anything ({name} {self._difference(name)})"
        if not math.isfinite(self.scores[name]):
            return f"{told}: the losses are not finite numbers"
        return (
            f"{told}: {self.samples} samples are too few, {self._enough(name)} (diffusion.validation.samples; best of "
            "as many held-out clips)"
        )

    def _enough(self, name: str) -> str:
        """How many samples would tell, if the difference is as it seems: its error falls with their square root."""
        size, relevant = self.scores[name], RELEVANT * self.scores["right"]
        distance = size if size > relevant else relevant - size
        wanted = self.samples * (CERTAIN * self.scores[f"{name}_error"] / max(distance, 1e-12)) ** 2
        if wanted > MOST:
            return f"more than {MOST:,} would be needed"
        places = 1 - math.floor(math.log10(wanted))
        return f"about {math.ceil(wanted * 10**places) / 10**places:,.0f} would do"

    def _why(self) -> str:
        """What a missing gap goes with, and what to try."""
        if _outcome(self.scores, "help") != "used":
            return self._advice()
        return (
            f". The adapter does lower the loss, by {self._percent('help')}, but with any image: it learned what all "
            f"clips have in common{self._advice()}"
        )

    def _advice(self) -> str:
        less = "drop the reference less often, " if self.dropped else ""
        return (
            f"; train longer, raise the learning rate, {less}and see that captions do not tell everything and that "
            "references show the subjects of their own clips"
        )

    def _difference(self, name: str) -> str:
        return f"{self.scores[name]:.4f} +- {self.scores[f'{name}_error']:.4f}"

    def _percent(self, name: str) -> str:
        return f"{self.scores[name] / self.scores['right']:.1%}"
