"""Scores as pure functions of arrays and counts. Knows nothing of models or files."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from refilm.arguments import checked

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True)
class Accuracy:
    """The share of `count` trials that came out right, with its 95 % interval. All three shares in 0..1."""

    share: float
    low: float
    high: float
    count: int


def accuracy(hits: Iterable[bool]) -> Accuracy:
    """The share of hits, with its 95 % Wilson interval.

    Raises:
        ValueError: there are no trials, or something else than true and false among them.
    """
    outcomes = list(hits)
    if odd := [hit for hit in outcomes if not isinstance(hit, bool | np.bool_)]:
        raise ValueError(f"hits are true or false, received {odd[0]!r}")
    low, high = wilson(sum(outcomes), len(outcomes))
    return Accuracy(sum(outcomes) / len(outcomes), low, high, len(outcomes))


@checked
def wilson(hits: int, count: int, *, z: float = Z95) -> tuple[float, float]:
    """The score interval of a share, which stays within 0..1 and holds for few trials (Wilson 1927).

    Raises:
        ValueError: no trials, or more hits than trials.
    """
    if not 0 <= hits <= count or count == 0:
        raise ValueError(f"a share needs a trial or more, and no more hits than those, received {hits} of {count}")
    share = hits / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, float(centre - reach)), min(1.0, float(centre + reach))


def psnr(a: ArrayLike, b: ArrayLike, *, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB over all elements; infinite for equal arrays.

    Args:
        a, b: images or videos of one shape.
        peak: the span of their values: 255 for uint8, 1 for 0..1, 2 for -1..1.

    Raises:
        ValueError: the shapes differ.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"only arrays of one shape compare, received {a.shape} and {b.shape}")
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))
