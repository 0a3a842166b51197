"""The sentences and tables with figures about the judge of several critters in benchmarks/README.md."""

from collections.abc import Mapping
from typing import Any

from refilm.pocket.finder import Finder
from refilm.pocket.networks import Stored
from refilm.pocket.region_judge import REGION_ATTRIBUTES, RegionJudge

from .results import ROOT, result


def several_critters() -> list[str]:
    found, judged = rows("finder"), rows("judge_two")
    drawn, decoded = (found[name]["found"] for name in ("no critter", "no critter, autoencoder"))
    clips = found["one critter"]["scores"]["iou"]["count"]
    return [
        f"(`refilm.pocket.finder`, {size(Finder, 'finder')})",
        f"(`refilm.pocket.region_judge`, {size(RegionJudge, 'region_judge')})",
        f"{clips} of each kind",
        *(
            f"| {name} | {' | '.join(fraction(row['scores'][what]) for what in ('iou', 'iou_by_shape', 'shape'))} |"
            for name, row in found.items()
            if "scores" in row
        ),
        f"In scenes without critters it finds one in {round(100 * drawn['share'])} % ({drawn['count']} videos; after "
        f"the autoencoder {round(100 * decoded['share'])} %).",
        *(f"| {name} | {' | '.join(judged_cells(row['scores']))} |" for name, row in judged.items()),
    ]


def rows(name: str) -> dict[str, dict[str, Any]]:
    """The rows of a result by their names."""
    return {row["name"]: row for row in result(name)["rows"]}


def size(kind: type[Stored], name: str) -> str:
    path = ROOT / "benchmarks" / f"{name}.safetensors"
    weights = sum(parameter.numel() for parameter in kind.load(path).parameters())
    return f"{weights / 1e6:.2f} M weights in {path.stat().st_size / 1e6:.1f} MB"


def fraction(score: Mapping[str, float]) -> str:
    return f"{score['mean']:.3f} ({score['low']:.3f}–{score['high']:.3f})"


def percent(score: Mapping[str, float]) -> str:
    share, low, high = (100 * score[name] for name in ("share", "low", "high"))
    return f"{share:.1f} ({low:.0f}–{high:.0f})"


def judged_cells(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The lowest accuracy of an attribute, and those of everything; empty where a row has none."""
    lowest = min((scores[name] for name in REGION_ATTRIBUTES), key=lambda one: one["share"])
    others = (scores.get(name) for name in ("all", "every critter", "number", "leaked"))
    return [percent(lowest), *("" if one is None else percent(one) for one in others)]
