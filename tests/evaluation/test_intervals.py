"""Bootstrap intervals over groups: known answers, SciPy's own, and how often they contain the truth."""

import numpy as np
import pytest
from scipy import stats

from refilm.errors import UserError
from refilm.evaluation.accuracy import wilson
from refilm.evaluation.intervals import expanded_tail, interval, student_quantile

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("freedom", [10, 39, 200])
@pytest.mark.parametrize("probability", [0.975, 0.995])
def test_quantiles_are_those_of_scipy(freedom, probability):
    assert student_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-3)


def test_the_tail_is_that_of_the_papers_formula():
    exact = stats.norm.cdf(-np.sqrt(20 / 19) * stats.t.ppf(0.975, 19))
    assert expanded_tail(0.95, 20) == pytest.approx(exact, rel=1e-3)
    assert expanded_tail(0.95, 10**6) == pytest.approx(0.025, rel=1e-3)


@pytest.mark.parametrize("sizes", [[1] * 30, [1, 2, 3, 4, 5] * 6])
def test_intervals_are_those_of_scipy(sizes):
    """Of the ratio of the groups' sums and counts, at the level of the expanded percentiles."""
    values = [RNG.exponential(size=size) + RNG.normal() for size in sizes]
    groups = [number for number, one in enumerate(values) for _ in one]
    found = interval(list(np.concatenate(values)), groups)
    theirs = stats.bootstrap(
        ([one.sum() for one in values], [len(one) for one in values]),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        confidence_level=1 - 2 * expanded_tail(0.95, 30),
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.mean == pytest.approx(np.concatenate(values).mean())
    width = theirs.high - theirs.low
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=0.03 * width)  # of the resampling


def test_an_interval_has_known_ends():
    """One of ten groups is 1: the mean of a resample is k / 10 with k of a binomial distribution."""
    values = [1.0] + [0.0] * 9
    found = interval(values, list("abcdefghij"))
    assert found == interval(values, list(range(10)))
    k = stats.binom(10, 0.1)
    ends = k.ppf(expanded_tail(0.95, 10)) / 10, k.ppf(1 - expanded_tail(0.95, 10)) / 10
    assert (found.mean, found.low, found.high, found.count, found.groups) == (0.1, *ends, 10, 10)


def test_the_same_values_give_the_same_interval():
    values, groups = list(RNG.normal(size=40)), list(range(40))
    assert interval(values, groups) == interval(values, groups)


def test_groups_and_not_videos_are_resampled():
    """Ten equal videos of a prompt are one observation."""
    values = list(RNG.normal(size=20))
    single = interval(values, list(range(20)))
    tenfold = interval(list(np.repeat(values, 10)), list(np.repeat(range(20), 10)))
    assert (tenfold.low, tenfold.high) == pytest.approx((single.low, single.high))


def test_fractions_without_spread_have_wilsons_interval():
    found = interval([1.0] * 80, list(range(40)) * 2, hit=True)
    assert (found.low, found.high) == pytest.approx(wilson(40, 40))
    assert interval([0.5] * 10, range(10)).low == 0.5


@pytest.mark.parametrize("groups", [10, 12, 16, 30])
def test_high_levels_are_held_also_with_few_groups(groups):
    """Of 2,000 intervals of a normal mean, those that miss it are about as many as the level says."""
    level, rng = 0.998, np.random.default_rng(groups)
    missed = sum(
        interval(list(rng.normal(size=groups)), list(range(groups)), level=level).excludes(0) for _ in range(2000)
    )
    assert missed <= 10  # 4 are expected; the bootstrap alone misses 40 times with 10 groups


def test_a_high_level_with_equal_groups_is_students_interval():
    values = list(RNG.normal(size=12))
    found = interval(values, list(range(12)), level=0.9995)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9995)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-3)
    tripled = interval(list(np.repeat(values, 3)), list(np.repeat(range(12), 3)), level=0.9995)
    assert (tripled.low, tripled.high) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize("hit", [False, True])
@pytest.mark.parametrize("count", [1, 9])
def test_few_groups_have_no_interval(count, hit):
    found = interval([1.0] * 2 * count, [*range(count)] * 2, hit=hit)
    assert (found.mean, found.low, found.high, found.groups) == (1, None, None, count)
    assert not found.excludes(3)


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, 1.0]], ids=["none", "one for two groups", "not a number"])
def test_invalid_values_are_refused(values):
    with pytest.raises(UserError, match=r"values"):
        interval(values, ["a", "b"][: max(len(values), 2)])


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal(size=40),
        lambda rng: rng.exponential(size=40) - 1,
        lambda rng: (rng.random(40) < 0.8) - 0.8,
    ],
    ids=["symmetric", "skewed", "binary"],
)
def test_intervals_contain_the_truth_as_often_as_they_say(draw, monkeypatch):
    """300 data sets of 40 groups, of symmetric, skewed and binary values: nearly 95 % of them."""
    monkeypatch.setattr("refilm.evaluation.intervals.RESAMPLES", 2_000)
    rng = np.random.default_rng(0)
    contains = [not interval(list(draw(rng)), list(range(40))).excludes(0) for _ in range(300)]
    assert 0.91 <= np.mean(contains) <= 0.98
