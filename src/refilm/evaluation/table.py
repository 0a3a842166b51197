"""The table of a result: a row for each column of its metrics, with the mean of each control beside each other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from refilm.evaluation.case import Control
from refilm.evaluation.intervals import FEWEST, Interval, interval
from refilm.evaluation.result import ColumnRecord, Result, ScoredVideo

HEADS: dict[Control, str] = {
    "right": "right reference",
    "wrong": "wrong reference",
    "none": "no reference",
    "scale0": "scale 0",
}
ARROWS = {True: "↑", False: "↓", None: ""}


@dataclass(frozen=True)
class Table:
    """A table as text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown, numbers aligned right."""
        lines = [self.head, ("---", *("---:" for _ in self.head[1:])), *self.rows]
        return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def present_columns(result: Result) -> list[ColumnRecord]:
    """The columns of all metrics that could run, in order."""
    return [column for record in result.metrics.values() if record.absent is None for column in record.columns]


def controls_of(result: Result) -> list[Control]:
    """The controls that a result has videos of, in order."""
    there = {video.control for video in result.videos}
    return [control for control in get_args(Control) if control in there]


def videos_of(result: Result, control: Control) -> list[ScoredVideo]:
    """The videos of a control, in the order of the cases."""
    return [video for video in result.videos if video.control == control]


def mean_of(videos: Sequence[ScoredVideo], column: ColumnRecord) -> Interval:
    """The mean of a column over videos, failed ones included, with its 95 % interval over groups."""
    values = [video.scores[column.name] for video in videos]
    return interval(values, [video.group for video in videos], hit=column.hit)


def table_of(result: Result) -> Table:
    """The means of a result with their 95 % intervals, and how many videos failed."""
    controls = controls_of(result)
    videos = {control: videos_of(result, control) for control in controls}
    rows = [
        (label(column), *(shown(mean_of(videos[control], column), column) for control in controls))
        for column in present_columns(result)
    ]
    rows.append(("failed videos", *(_fraction(video.error is not None for video in of) for of in videos.values())))
    if any(video.errors for video in result.videos):
        rows.append(
            ("videos without some score", *(_fraction(bool(one.errors) for one in of) for of in videos.values()))
        )
    return Table(("", *(HEADS[control] for control in controls)), tuple(rows))


def _fraction(hits: Iterable[bool]) -> str:
    counted = list(hits)
    return f"{sum(counted)} of {len(counted)}"


def notes_on(result: Result) -> Iterator[str]:
    """What a reader of the table must know: metrics that could not run or score, and missing intervals."""
    yield from _absences(result)
    yield from unscored(result)
    groups = {video.group for video in result.videos}
    if len(groups) < FEWEST:
        yield f"there are no intervals: {len(groups)} groups of videos, and an interval needs {FEWEST}"


def _absences(result: Result) -> Iterator[str]:
    """A line for each metric that could not run, with the reason."""
    for name, record in result.metrics.items():
        if record.absent is not None:
            yield f"{name} is absent: {record.absent}"


def unscored(result: Result) -> Iterator[str]:
    """A line for each metric that could not score some videos, with the first reason."""
    for name in result.metrics:
        errors = [(video.case, video.errors[name]) for video in result.videos if name in video.errors]
        if errors:
            case, error = errors[0]
            yield f"{name} could not score {len(errors)} of {len(result.videos)} videos; the first: {case}: {error}"


def label(column: ColumnRecord) -> str:
    """The name of a column, the direction of better values, and its unit if that is percent."""
    return " ".join(filter(None, (column.name, ARROWS[column.higher], "%" if column.hit else "")))


def shown(found: Interval, column: ColumnRecord) -> str:
    """A mean with its interval: `93.5 (89.0–96.1)` in percent for hits, `0.823 (0.791–0.852)` otherwise."""

    def text(value: float) -> str:
        return f"{100 * value:.1f}" if column.hit else f"{value:.3f}"

    if found.low is None or found.high is None:
        return text(found.mean)
    return f"{text(found.mean)} ({text(found.low)}–{text(found.high)})"
