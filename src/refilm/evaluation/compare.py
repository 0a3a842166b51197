"""Which differences between two results are real. Results that were measured otherwise are not compared."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from refilm.errors import UserError
from refilm.evaluation.intervals import Interval, interval
from refilm.evaluation.result import ColumnRecord, Result
from refilm.evaluation.table import Table, label, present_columns, shown, videos_of

ERROR = 0.01
"""Probability that any column of two equal systems is said to differ."""
ROUNDING = 1e-6
"""Differences up to this fraction of a value count as none: other devices and versions round otherwise."""
Finding = Literal["better", "worse", "higher", "lower", "no difference shown", "too few groups"]


@dataclass(frozen=True)
class Difference:
    """The difference of a column between two results, with the right reference."""

    column: ColumnRecord
    first: float
    """Mean of the first result."""
    second: float
    difference: Interval
    """Mean of second minus first, paired by case, with the interval that decides."""
    finding: Finding
    """What the second is, compared with the first."""


def compare(first: Result, second: Result) -> list[Difference]:
    """Compare the videos with the right reference, column by column, by the paired bootstrap over groups.

    A difference is real if its interval excludes 0. The intervals have such a level that the probability of any false
    difference is 1 %, over all columns together (Bonferroni).

    Raises:
        UserError: suite, version, cases or the identity of a metric differ; names each. Or there is nothing to compare.
    """
    if reasons := list(obstacles(first, second)):
        raise UserError(f"these results cannot be compared: {'; '.join(reasons)}")
    names = {column.name for column in present_columns(second)}
    columns = [column for column in present_columns(first) if column.name in names]
    if not columns or not videos_of(first, "right"):
        raise UserError("these results have no column in common, or no videos with the right reference")
    return [_difference(first, second, column, level=1 - ERROR / len(columns)) for column in columns]


def obstacles(first: Result, second: Result) -> Iterator[str]:
    """Why two results cannot be compared, one reason after another."""
    for what in ("name", "version", "cases"):
        one, other = getattr(first.suite, what), getattr(second.suite, what)
        if one != other:
            yield f"suite {what}: {one:.100} and {other:.100}"
    asked = [{video.case for video in videos_of(result, "right")} for result in (first, second)]
    if different := sorted(asked[0] ^ asked[1]):
        yield f"cases: {len(different)} are in one result only, such as {different[0]:.100}"
    for name in first.metrics.keys() & second.metrics.keys():
        one, other = first.metrics[name], second.metrics[name]
        if one.absent is None and other.absent is None:
            for key in sorted(one.identity.keys() | other.identity.keys()):
                if one.identity.get(key) != other.identity.get(key):
                    yield f"metric {name}, {key}: {one.identity.get(key)!s:.200} and {other.identity.get(key)!s:.200}"


def one_sided(first: Result, second: Result) -> Iterator[str]:
    """A line for each metric that only one of the results has, which is therefore not compared."""
    for name in sorted(first.metrics.keys() | second.metrics.keys()):
        there = [name in result.metrics and result.metrics[name].absent is None for result in (first, second)]
        if any(there) and not all(there):
            yield f"{name} is not compared: only the {'first' if there[0] else 'second'} result has it"


def comparison_table(differences: list[Difference]) -> Table:
    """The differences as a table."""
    level = 1 - ERROR / len(differences)
    head = ("", "first", "second", f"difference ({100 * level:.4g} % interval)", "second is")
    return Table(
        head,
        tuple(
            (
                label(one.column),
                *(shown(Interval(mean, None, None, 1, 1), one.column) for mean in (one.first, one.second)),
                shown(one.difference, one.column),
                one.finding,
            )
            for one in differences
        ),
    )


def _difference(first: Result, second: Result, column: ColumnRecord, *, level: float) -> Difference:
    other = {video.case: video.scores[column.name] for video in videos_of(second, "right")}
    videos = videos_of(first, "right")
    values = [_difference_of(video.scores[column.name], other[video.case]) for video in videos]
    found = interval(values, [video.group for video in videos], level=level)
    mean = sum(video.scores[column.name] for video in videos) / len(videos)
    return Difference(column, mean, mean + found.mean, found, _finding(found, column))


def _difference_of(first: float, second: float) -> float:
    difference = second - first
    return 0.0 if abs(difference) <= ROUNDING * max(1.0, abs(first)) else difference


def _finding(found: Interval, column: ColumnRecord) -> Finding:
    if found.low is None:
        return "too few groups"
    if not found.excludes(0):
        return "no difference shown"
    if column.higher is None:
        return "higher" if found.mean > 0 else "lower"
    return "better" if (found.mean > 0) == column.higher else "worse"
