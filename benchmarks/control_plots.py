"""Draws the results of `control.py` for the documentation: likeness and motion against each control, with intervals.

    python benchmarks/control_plots.py

Writes docs/assets/control/EXPERIMENT.svg from benchmarks/results/control.json. Each drawing contains the digest of its
numbers, which `tests/e2e/test_control_plots.py` compares with the result file.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from record import RESULTS

from refilm.files import read_json

ASSETS = Path(__file__).parents[1] / "docs" / "assets" / "control"
AXES = {
    "scale": "reference scale",
    "start": "first step with the reference",
    "end": "last step with the reference",
    "guidance": "guidance scale of the reference",
    "views": "images of the subject",
}
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7")  # Okabe and Ito 2008, for color-blind people


def digest(points: Sequence[dict[str, Any]]) -> str:
    """Identifies the numbers of a drawing."""
    return hashlib.sha256(json.dumps(points, sort_keys=True).encode()).hexdigest()


def lines_of(points: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The points of each line of a drawing."""
    names = dict.fromkeys(point["line"] for point in points)
    return {name: [point for point in points if point["line"] == name] for name in names}


def draw(name: str, points: Sequence[dict[str, Any]], path: Path) -> None:
    """One panel for likeness, one for motion."""
    figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
    for panel, measure in zip(panels, ("likeness", "motion"), strict=True):
        for color, (line, own) in zip(COLORS, lines_of(points).items(), strict=False):
            x = [point["x"] for point in own]
            share, low, high = ([100 * point[measure][part] for point in own] for part in ("share", "low", "high"))
            panel.plot(x, share, "o-", color=color, label=line or None)
            panel.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
        panel.set(title=f"{measure} right", xlabel=AXES[name], ylim=(0, 100))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("% of videos, 95 % interval")
    if any(point["line"] for point in points):
        panels[1].legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None, "Description": digest(points)})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS / "control.json", help="Result file to draw.")
    parser.add_argument("--out", type=Path, default=ASSETS, help="Folder of the drawings.")
    options = parser.parse_args()
    mpl.rcParams["svg.hashsalt"] = "refilm"  # the same drawing at every run
    options.out.mkdir(parents=True, exist_ok=True)
    for name, points in read_json(options.results)["experiments"].items():
        if name in AXES:
            draw(name, points, options.out / f"{name}.svg")


if __name__ == "__main__":
    main()
