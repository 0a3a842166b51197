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
    return [*videos(), "\n".join(cue), *(table(found[name]) for name in ("start", "end", "scale"))]


def subjects() -> list[str]:
    """docs/howto/direct-subjects.md."""
    return [*videos(), table(experiments()["views"])]


def guidance() -> list[str]:
    """docs/howto/direct-guidance.md."""
    passes = result("control")["passes"]
    cost = f"{passes} transformer passes per video: {passes // 2} steps with one scale, {passes // 3} with two."
    return [*videos(), cost, table(experiments()["guidance"])]


def videos() -> list[str]:
    """What every table counts."""
    return [f"In percent of {result('control')['pairs']} videos of held-out critters by the pocket model"]


def experiments() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The points of each experiment."""
    return result("control")["experiments"]


def table(points: Sequence[Mapping[str, Any]]) -> str:
    """A line for each point: its value, likeness and motion."""
    named = [f"{point['line']}, {point['x']:g}" if point["line"] else f"{point['x']:g}" for point in points]
    return "\n".join(
        f"| {name} | {cell(point['likeness'])} | {cell(point['motion'])} |"
        for name, point in zip(named, points, strict=True)
    )


def cell(score: Mapping[str, float]) -> str:
    """A fraction in percent with its 95 % interval."""
    share, low, high = (100 * score[name] for name in ("share", "low", "high"))
    return f"{share:.0f} ({low:.0f}–{high:.0f})"
