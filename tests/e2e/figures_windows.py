"""The tables of the page about longer videos, generated from the result file."""

from collections.abc import Sequence
from typing import Any

from .results import result

LENGTHS = ("8 shared frames", "4 shared frames", "hard cuts", "one pass")
OTHERS = ("the video's first frame", "its own first frame, hidden", "its own first frame, blended", "moving windows")


def longer_videos() -> list[str]:
    found = result("windows")
    rows, pairs = found["rows"], found["pairs"]
    seams = {name: row["seam"] for name, row in rows.items()}
    assert seams["8 shared frames"]["low"] < 1 < seams["8 shared frames"]["high"]  # no measurable seam
    assert min(seams[name]["low"] for name in ("4 shared frames", "hard cuts")) > 1
    assert overlap([seams[name] for name in OTHERS[:3]])
    for name in ("likeness", "motion"):  # neither lengths in likeness nor ways in anything can be told apart
        assert all(overlap(stretch) for stretch in _stretches(rows, OTHERS, name))
    assert all(overlap(stretch) for stretch in _stretches(rows, LENGTHS, "likeness"))
    widest = max(
        one["high"] - one["low"] for row in rows.values() for part in row["stretches"] for one in part.values()
    )
    return [
        f"{pairs} held-out critters with videos of {rows['hard cuts']['frames']} frames",
        *(line(name, rows[name]) for name in LENGTHS),
        f"With {pairs} pairs, the 95 % interval of a percentage is up to {100 * widest:.0f} points wide",
        f"videos of {rows['moving windows']['frames']} frames with 8 shared frames",
        *(line(name, rows[name]) for name in OTHERS),
    ]


def _stretches(rows: dict[str, Any], names: Sequence[str], score: str) -> list[list[dict[str, float]]]:
    """For each stretch the score of each row."""
    return [list(parts) for parts in zip(*([p[score] for p in rows[n]["stretches"]] for n in names), strict=True)]


def overlap(intervals: Sequence[dict[str, float]]) -> bool:
    """Whether all intervals have a value in common."""
    return max(one["low"] for one in intervals) <= min(one["high"] for one in intervals)


def line(name: str, row: dict[str, Any]) -> str:
    """A line of a table: windows, the seam with its interval, likeness and motion of each stretch in percent."""
    seam = row["seam"]
    scores = (
        ", ".join(f"{100 * part[score]['share']:.0f}" for part in row["stretches"]) for score in ("likeness", "motion")
    )
    measured = f"{seam['mean']:.2f} ({seam['low']:.2f} to {seam['high']:.2f})"
    return f"| {name} | {row['windows']} | {measured} | {' | '.join(scores)} |"
