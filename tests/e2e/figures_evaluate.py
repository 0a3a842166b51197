"""The table and the sentences of the page about evaluation, generated from the result file."""

from typing import Any

from refilm.evaluation.table import HEADS

from .results import result

CHOSEN = {"likeness": "{:.2f} ({:.2f}–{:.2f})", "all": "{:.0%} ({:.0%}–{:.0%})", "motion": "{:.0%} ({:.0%}–{:.0%})"}


def evaluation() -> list[str]:
    found = result("evaluation")
    assert found["failed"] == 0
    rows = {f"the model, {HEADS[control]}": means for control, means in found["model"].items()} | found["known"]
    equal, different = found["equal"], found["different"]
    replaced = ", ".join(f"{one['replaced']:.0%}".replace("%", " %") for one in different)
    numbers = ", ".join(str(one["columns"]["likeness"]) for one in different)
    return [
        f"on the first {found['pairs']} pairs",
        *(f"| {name} | {' | '.join(_cell(means, column) for column in CHOSEN)} |" for name, means in rows.items()),
        f"In {equal['any_column']} of {equal['draws']} comparisons of equal sets any column was said to differ.",
        f"With {replaced} of the videos replaced, likeness was found to be worse in {numbers} of {equal['draws']}.",
    ]


def _cell(means: dict[str, Any], column: str) -> str:
    one = means[column]
    return CHOSEN[column].format(one["mean"], one["low"], one["high"]).replace("%", " %")
