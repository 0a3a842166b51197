"""Scores as Markdown tables and as plain values for JSON, with the machine that they were measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refilm.errors import UserError
from refilm.evaluation.accuracy import Accuracy


@dataclass(frozen=True)
class Row:
    """One line of a table: what was scored, and its score in each column."""

    name: str
    scores: Mapping[str, Accuracy]
    notes: Mapping[str, float] = field(default_factory=dict)
    """Further measurements, such as seconds; only `as_json` includes them."""


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table in percent, each score with its 95 % interval: `93.5 (89–96)`.

    Raises:
        UserError: no rows, or rows with different columns.
    """
    if not rows:
        raise UserError("rows: a table needs at least one row, received none")
    columns = list(rows[0].scores)
    if any(list(row.scores) != columns for row in rows):
        raise UserError(f"rows: all need the same columns, received {[list(row.scores) for row in rows]}")
    lines = [["", *columns], ["---", *("---:" for _ in columns)]]
    lines += [[row.name, *(_cell(row.scores[name]) for name in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain values for `json.dump`; fractions stay in 0..1."""
    return [
        {"name": row.name, "scores": {name: a.to_values() for name, a in row.scores.items()}, **row.notes}
        for row in rows
    ]


def _cell(score: Accuracy) -> str:
    return f"{100 * score.fraction:.1f} ({100 * score.low:.0f}–{100 * score.high:.0f})"
