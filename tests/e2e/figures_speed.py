"""What faster sampling costs, and where time goes on a CPU, from the result files, for docs/howto/speed.md."""

from collections.abc import Mapping
from typing import Any

from .figures_control import cell
from .results import RESULTS, result


def speed() -> list[str]:
    """What was measured."""
    return [*_sampling(), *_on_a_cpu()]


def _on_a_cpu() -> list[str]:
    found = result("cpu")
    step, block = found["sampling"], found["block"]
    products = [one["refilm"]["parts"]["matrix products"] for one in (step, block)]
    return [
        f"With {found['machine']['threads']} thread, a sampler step of the pocket model takes "
        f"{1000 * step['refilm']['seconds']:.1f} ms, and diffusers needs {step['ratio']:.2f} times as long",
        f"For one block of CogVideoX-2B's width on {found['tokens']} tokens the ratio is {block['ratio']:.2f}",
        f"matrix products take {100 * products[0]:.0f} % of the step and {100 * products[1]:.0f} % of the block",
    ]


def _sampling() -> list[str]:
    """The table; nothing before it was measured."""
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
