"""The tables of the pages about directing a subject, generated from result files."""

from collections.abc import Mapping, Sequence
from typing import Any

from .results import result


def when() -> list[str]:
    """docs/howto/direct-when.md."""
    found = experiments()
    halves = ("first half", "second half")
    cue = [
        f"| {point['x']} | {' | '.join(cell(point[half][what]) for half in halves for what in ('likeness', 'color'))} |"
        for point in found["cue"]
    ]
    return [*table(found["start"]), *table(found["end"]), *table(found["scale"]), *cue]


def subjects() -> list[str]:
    """docs/howto/direct-subjects.md."""
    return table(experiments()["views"])


def guidance() -> list[str]:
    """docs/howto/direct-guidance.md."""
    return table(experiments()["guidance"])


def experiments() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The points of each experiment."""
    return result("control")["experiments"]


def table(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each point: its value, likeness and motion."""
    named = [f"{point['line']}, {point['x']:g}" if point["line"] else f"{point['x']:g}" for point in points]
    return [
        f"| {name} | {cell(point['likeness'])} | {cell(point['motion'])} |"
        for name, point in zip(named, points, strict=True)
    ]


def cell(score: Mapping[str, float]) -> str:
    """A fraction in percent with its 95 % interval."""
    share, low, high = (100 * score[name] for name in ("share", "low", "high"))
    return f"{share:.0f} ({low:.0f}–{high:.0f})"
