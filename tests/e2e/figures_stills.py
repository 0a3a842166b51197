"""The table of adapters trained on stills, clips and both, in docs/training.md, generated from the result file."""

from typing import Any

from .results import RESULTS, result


def stills() -> list[str]:
    if not (RESULTS / "stills.json").exists():  # not measured yet
        return []
    measured = result("stills")
    return [
        f"{measured['samples']} samples each, {measured['pairs']} pairs of held-out critters",
        *(
            f"| {row['title']} | {' | '.join(_cell(row[score]) for score in ('likeness', 'motion', 'scene'))} |"
            for row in measured["rows"].values()
        ),
    ]


def _cell(score: dict[str, Any]) -> str:
    """Percent with its interval."""
    mean, low, high = (100 * score[part] for part in ("mean", "low", "high"))
    return f"{mean:.0f} ({low:.0f}–{high:.0f})"
