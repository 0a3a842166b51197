"""Fractions of right answers with their intervals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from refilm.arguments import checked
from refilm.errors import UserError

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True)
class Accuracy:
    """The fraction of `count` trials that were right, with its 95 % interval. All three fractions are in 0..1."""

    fraction: float
    low: float
    high: float
    count: int

    def to_values(self) -> dict[str, float]:
        """Plain values for JSON; the fraction is called `share` there, as in all result files."""
        return {"share": self.fraction, "low": self.low, "high": self.high, "count": self.count}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """An accuracy from the values that `to_values` returned."""
        return cls(values["share"], values["low"], values["high"], values["count"])


def accuracy(hits: Iterable[bool]) -> Accuracy:
    """The fraction of hits, with its 95 % Wilson interval.

    Raises:
        UserError: there are no trials, or a hit is neither true nor false.
    """
    outcomes = list(hits)
    if odd := [hit for hit in outcomes if not isinstance(hit, bool | np.bool_)]:
        raise UserError(f"hits: each must be true or false, received {odd[0]!r}")
    low, high = wilson(sum(outcomes), len(outcomes))
    return Accuracy(sum(outcomes) / len(outcomes), low, high, len(outcomes))


@checked
def wilson(hits: int, count: int, *, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a fraction, which lies within 0..1 and is valid for few trials (Wilson 1927).

    Raises:
        UserError: no trials, or more hits than trials.
    """
    if not 0 <= hits <= count or count == 0:
        raise UserError(f"hits must be 0 to count, and count 1 or more, received {hits} of {count}")
    fraction = hits / count
    center = (fraction + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z * np.sqrt(fraction * (1 - fraction) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, float(center - reach)), min(1.0, float(center + reach))
