"""The table of what a video costs besides time, in benchmarks/README.md, generated from the result file."""

from .results import result


def counts() -> list[str]:
    counted = result("counts")
    both = [counted[name] for name in ("refilm", "diffusers")]
    step, video = [one["step"] for one in both], [one["video"] for one in both]
    rows = {
        f"transformer passes, {counted['steps']} steps": [f"{one['forwards']:,}" for one in video],
        "arithmetic, PFLOP": [f"{one['tflop'] / 1e3:.2f}" for one in video],
        "operators in a step": [f"{one['operators']:,}" for one in step],
        "operators in a video": [f"{one['operators']:,}" for one in video],
        "waits in a step": [str(one["waits"]) for one in step],
        "copied to the device in a step, MB": [f"{one['copied_mb']:.1f}" for one in step],
        "the transformer's weights, GB": [f"{one['weights_gb']:.2f}" for one in both],
    }
    return [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
