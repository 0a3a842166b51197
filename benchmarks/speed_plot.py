"""Draws the results of `speed.py` for the documentation: PSNR, likeness and motion against runs of the blocks.

    python benchmarks/speed_plot.py

Writes docs/assets/speed.svg from benchmarks/results/speed.json. Cases on the Pareto front of a panel, where no other
case of the same sampler is both cheaper and better, are joined by a line. The drawing contains the digest of its
numbers, which `tests/e2e/test_speed.py` compares with the result file.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from control_plots import COLORS, digest
from matplotlib import pyplot as plt
from record import RESULTS

from refilm.files import read_json

DRAWING = Path(__file__).parents[1] / "docs" / "assets" / "speed.svg"
PANELS = {"psnr": "PSNR to exact videos, dB", "likeness": "likeness right, %", "motion": "motion right, %"}

Point = tuple[float, float, float, float]
"""Runs, value, and the ends of its interval."""


def points(cases: Mapping[str, Mapping[str, Any]], measure: str) -> dict[str, list[Point]]:
    """The points of a panel for each sampler, cheapest first."""
    found: dict[str, list[Point]] = {}
    for case in cases.values():
        if (value := case[measure]) is None:  # an exact video has no PSNR
            continue
        ends = [value] * 3 if measure == "psnr" else [100 * value[part] for part in ("share", "low", "high")]
        found.setdefault(case["settings"]["sampler"], []).append((case["runs"], *ends))
    return {sampler: sorted(own) for sampler, own in found.items()}


def front(own: list[Point]) -> list[Point]:
    """The points, cheapest first, that are better than all cheaper ones."""
    kept: list[Point] = []
    for point in own:
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


def draw(cases: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """A panel for each measure."""
    figure, panels = plt.subplots(1, len(PANELS), figsize=(11, 3.4), layout="constrained")
    for panel, (measure, title) in zip(panels, PANELS.items(), strict=True):
        for color, (sampler, own) in zip(COLORS, points(cases, measure).items(), strict=False):
            runs, values, low, high = zip(*own, strict=True)
            errors = [
                [a - b for a, b in zip(values, low, strict=True)],
                [b - a for a, b in zip(values, high, strict=True)],
            ]
            panel.errorbar(runs, values, errors, fmt="o", color=color, alpha=0.5, markersize=4, linewidth=0.7)
            best = front(own)
            panel.plot([point[0] for point in best], [point[1] for point in best], color=color, label=sampler)
        panel.set(title=title, xlabel="runs of the blocks per video", xlim=(0, None))
        panel.grid(alpha=0.3)
    panels[0].legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None, "Description": digest([dict(cases)])})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS / "speed.json", help="Result file to draw.")
    parser.add_argument("--out", type=Path, default=DRAWING, help="File of the drawing.")
    options = parser.parse_args()
    mpl.rcParams["svg.hashsalt"] = "refilm"  # the same drawing at every run
    draw(read_json(options.results)["cases"], options.out)


if __name__ == "__main__":
    main()
