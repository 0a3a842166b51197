"""The table and the sentences of the page about evaluation, generated from the result file."""

from typing import Any

from refilm.evaluation.table import HEADS

from .results import result

NUMBER, PERCENT = "{:.2f} ({:.2f}–{:.2f})", "{:.0%} ({:.0%}–{:.0%})"
CHOSEN = {"likeness": NUMBER, "all": PERCENT, "motion": PERCENT, "efficientnet_i": NUMBER, "copy_paste": NUMBER}
SWEPT = {
    "likeness": NUMBER,
    "efficientnet_i": NUMBER,
    "copy_paste": NUMBER,
    "motion": PERCENT,
    "dynamic_degree": PERCENT,
}


def evaluation() -> list[str]:
    found = result("evaluation")
    assert found["failed"] == 0
    rows = {f"the model, {HEADS[control]}": means for control, means in found["model"].items()} | found["known"]
    equal, different = found["equal"], found["different"]
    replaced = ", ".join(f"{one['replaced']:.0%}".replace("%", " %") for one in different)
    numbers = ", ".join(str(one["columns"]["likeness"]) for one in different)
    return [
        f"on the first {found['pairs']} pairs",
        *(_row(name, means, CHOSEN) for name, means in rows.items()),
        *(_row(f"{one['scale']:g}", one["means"], SWEPT) for one in found["sweep"]),
        f"In {equal['any_column']} of {equal['draws']} comparisons of equal sets any column was said to differ.",
        f"With {replaced} of the videos replaced, likeness was found to be worse in {numbers} of {equal['draws']}.",
    ]


def _row(name: str, means: dict[str, Any], columns: dict[str, str]) -> str:
    cells = (
        form.format(*(means[column][part] for part in ("mean", "low", "high"))) for column, form in columns.items()
    )
    return f"| {name} | {' | '.join(cells)} |".replace("%", " %")
