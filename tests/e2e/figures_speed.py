"""The table of what faster sampling costs, generated from the result file, for docs/howto/speed.md."""

from collections.abc import Mapping
from typing import Any

from .figures_control import cell
from .results import RESULTS, result


def speed() -> list[str]:
    """What was measured; nothing before it was."""
    if not (RESULTS / "speed.json").exists():
        return []
    found = result("speed")
    rows = "\n".join(_row(name, case) for name, case in found["cases"].items())
    return [
        f"In percent of {found['pairs']} videos of held-out critters by the pocket model, with 95 % intervals",
        f"exact videos from other noise have {found['other_noise_psnr']:.0f} dB",
        rows,
    ]


def _row(name: str, case: Mapping[str, Any]) -> str:
    psnr = "exact" if case["psnr"] is None else f"{case['psnr']:.1f} dB"
    return f"| {name} | {case['runs']:.0f} | {psnr} | {cell(case['likeness'])} | {cell(case['motion'])} |"
