"""Means with bootstrap intervals over groups. Does not know what the values measure.

Videos of one prompt resemble each other, so groups of videos are resampled, not videos: an interval says which means
other prompts of the same kind would give.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from refilm.arguments import checked
from refilm.errors import UserError
from refilm.evaluation.accuracy import wilson

RESAMPLES = 20_000
CHUNK = 1_000  # resamples in memory
SEED = 0
IN_TAIL = 100
"""Resampled means that must be beyond each end of an interval; fewer do not show where the end is."""
FEWEST = 10
"""Groups below which there is no interval: resampling so few says nothing about other groups, and Student's quantile
is not exact."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval."""

    mean: float
    low: float | None
    """None with fewer than 10 groups."""
    high: float | None
    count: int
    """Number of values."""
    groups: int
    """Number of groups."""

    def excludes(self, value: float) -> bool:
        """Whether a value lies outside of the interval; false without an interval."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


@checked
def interval(
    values: Sequence[float], groups: Sequence[Hashable], *, level: float = 0.95, hit: bool = False
) -> Interval:
    """The mean of values with its bootstrap interval over groups.

    The expanded percentile interval (Hesterberg, "What Teachers Should Know about the Bootstrap", 2015):
    percentiles of the resampled means, further out by what the t distribution and the divisor n instead of n - 1 cost
    with few groups. Resampling uses a fixed seed, so the same values always give the same interval. Levels so high that
    resamples hardly reach the ends have Student's interval of the groups' linearized means (Cochran 1977, Sampling
    Techniques, eq. 6.13).

    Args:
        values: one for each video. For a paired comparison, their differences.
        groups: the group of each value; a mean weighs values, not groups.
        level: confidence level.
        hit: whether values are 0 or 1. If all are equal, resampling shows no spread, and the interval is Wilson's with
            one trial for each group.

    Raises:
        UserError: there are no values, a value is not finite, or there is another number of groups.
    """
    sums, counts = _sums(values, groups)
    mean = float(sums.sum() / counts.sum())
    facts = {"count": int(counts.sum()), "groups": len(sums)}
    if len(sums) < FEWEST:
        return Interval(mean, None, None, **facts)
    if hit and mean in (0.0, 1.0):
        z = NormalDist().inv_cdf((1 + level) / 2)
        return Interval(mean, *wilson(int(mean * len(sums)), len(sums), z=z), **facts)
    tail = expanded_tail(level, len(sums))
    if tail * RESAMPLES < IN_TAIL:
        reach = student_quantile((1 + level) / 2, len(sums) - 1) * _standard_error(sums, counts)
        return Interval(mean, mean - reach, mean + reach, **facts)
    low, high = np.quantile(_resampled(sums, counts), (tail, 1 - tail))
    return Interval(mean, float(low), float(high), **facts)


def expanded_tail(level: float, groups: int) -> float:
    """The probability below the lower end of an expanded percentile interval."""
    return NormalDist().cdf(-student_quantile((1 + level) / 2, groups - 1) * (groups / (groups - 1)) ** 0.5)


def student_quantile(probability: float, freedom: int) -> float:
    """A quantile of Student's t distribution by its expansion around the normal one (Abramowitz and Stegun 26.7.5).

    With 9 degrees of freedom within 0.001 % of the exact value at the 97.5 % point, within 0.1 % at the 99.99 % point;
    nearer with more.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))


def _sums(values: Sequence[float], groups: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """The sum and the number of each group's values, in order of the groups' first appearance."""
    if not len(values) or len(values) != len(groups):
        raise UserError(f"values and groups: need one group for each value, received {len(values)} and {len(groups)}")
    if not np.isfinite(values).all():
        raise UserError("values: must be finite numbers")
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    of = [places[group] for group in groups]
    return np.bincount(of, weights=values), np.bincount(of)


def _standard_error(sums: np.ndarray, counts: np.ndarray) -> float:
    """The standard error of the mean over all values, from the groups' deviations from it."""
    deviations = (sums - sums.sum() / counts.sum() * counts) / counts.mean()
    return float(deviations.std(ddof=1) / len(sums) ** 0.5)


def _resampled(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means of resamples of groups, (RESAMPLES,)."""
    rng = np.random.default_rng(SEED)
    means = []
    for _ in range(RESAMPLES // CHUNK):
        chosen = rng.integers(len(sums), size=(CHUNK, len(sums)))
        means.append(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))
    return np.concatenate(means)
