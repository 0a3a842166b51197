"""A line plot as SVG: the gap between right and wrong references over the steps of a training run."""

from collections.abc import Mapping, Sequence
from typing import Any

from refilm.serving.page.fragments import empty, text

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 32
WAITING = "The plot begins with the first validation that compares right and wrong references."


def gap_plot(validations: Sequence[Mapping[str, Any]]) -> str:
    """The gap of each validation with its standard error; above 0 the reference is used."""
    points = [
        (each["step"], each["scores"]["gap"], each["scores"].get("gap_error", 0.0))
        for each in validations
        if "gap" in each["scores"]
    ]
    if not points:
        return empty(WAITING)
    low = min(0.0, *(gap - error for _, gap, error in points))
    high = max(0.0, *(gap + error for _, gap, error in points)) or 1e-6
    last = max(1, points[-1][0])

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(gap: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - gap) / (high - low)

    line = " ".join(f"{x(step):.1f},{y(gap):.1f}" for step, gap, _ in points)
    upper = [f"{x(step):.1f},{y(gap + error):.1f}" for step, gap, error in points]
    lower = [f"{x(step):.1f},{y(gap - error):.1f}" for step, gap, error in reversed(points)]
    dots = "".join(
        f'<circle cx="{x(step):.1f}" cy="{y(gap):.1f}" r="3">'
        f"<title>step {step}: {gap:.4f} ± {error:.4f}</title></circle>"
        for step, gap, error in points
    )
    values = {value: f"{value:.4f}" for value in (low, 0.0, high)}
    labels = "".join(f'<text x="{LEFT - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{s}</text>' for v, s in values.items())
    ends = ((0, "start"), (last, "end"))
    steps = "".join(
        f'<text x="{x(step):.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">step {step}</text>' for step, anchor in ends
    )
    summary = f"Wrong minus right loss: {points[-1][1]:.4f} at step {points[-1][0]}"
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(summary)}">'
        f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
        f'<polygon class="band" points="{" ".join(upper + lower)}"/><polyline class="line" points="{line}"/>{dots}'
        f'{labels}{steps}</svg><p class="hint">Loss with a wrong reference minus loss with the right one. Above 0 the '
        "reference is used.</p>"
    )
