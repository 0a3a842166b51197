"""The sentences with figures about steps, memory and speed in the docs and benchmarks/README.md, generated from
result files.
"""

from itertools import pairwise
from typing import Any

from refilm.pocket.judge import WEIGHTS, Judge

from .results import result


def benchmarks_page() -> list[str]:
    kept, took = result("training_memory"), result("training")
    step = {name.removeprefix("adapter, "): one for name, one in kept["steps"].items() if name.startswith("adapter")}
    hand = kept["a_careful_count_gave"]
    judge = Judge.load(WEIGHTS)
    size = WEIGHTS.stat().st_size / 1e6
    seen = {**step, "nothing (`full`)": step["full"], "self-attention (`selective`)": step["selective"]}
    seen |= {"and the MLP's second layer": step["keep and the MLP's second layer"]}
    seen |= {"and all other linear layers": step["keep and all other linear layers"]}
    saved = [
        (seen[a]["tflop"] - seen[b]["tflop"]) / (seen[b]["kept_gib"] - seen[a]["kept_gib"]) for a, b in _pairs(seen)
    ]
    table = (
        (took[f"{what}_seconds_per_step"], name) for what, name in (("adapter", "adapter"), ("base", "all weights"))
    )
    encoding = took["encoding_clips_per_second"]
    return [
        f"{sum(p.numel() for p in judge.parameters()) / 1e6:.2f} M weights, {size:.1f} MB",
        *(
            f"| {mode} | {step[mode]['tflop']:.1f} | {hand['tflop'][mode]} | {step[mode]['kept_gib']:.2f} GiB "
            f"| {hand['kept_gib'][mode]} GiB |"
            for mode in ("none", "full")
        ),
        f"| selective | {step['selective']['tflop']:.1f} | | {step['selective']['kept_gib']:.2f} GiB | |",
        f"What `full` adds, {step['full']['tflop'] - step['none']['tflop']:.1f} TFLOP,",
        f"we keep {hand['kept_gib']['none'] - step['none']['kept_gib']:.2f} GiB less",
        f"A tensor of 17,776 x 1920 in bfloat16 is {17776 * 1920 * 2 / 2**20:.1f} MiB; "
        f"{16 * 30 * 17776 * 1920 * 2 / 2**30:.1f} GiB are sixteen of them in each of 30 blocks.",
        *(f"| {name} | {seen[name]['tflop']:.1f} | {seen[name]['kept_gib']:.2f} GiB |" for name in list(seen)[-4:]),
        f"Self-attention saves {saved[0]:.0f} TFLOP for each GiB, the MLP's second layer {saved[1]:.0f}, the others "
        f"{saved[2]:.0f}.",
        "{:.1f}, {:.1f} and {:.1f} GiB.".format(
            *(step[f"autocast, {mode}"]["kept_gib"] for mode in ("none", "selective", "full"))
        ),
        f"| encoding, clips/s | {encoding['refilm']['median']:.1f} | {encoding['plain']['median']:.1f} "
        f"| {encoding['refilm_to_plain']:.2f} | |",
        *(
            f"| {name}, s/step | {times['refilm']['median']:.3f} | {times['plain']['median']:.3f} "
            f"| {times['refilm_to_plain']:.2f} | {100 * times['outside']['median']:.1f} % |"
            for times, name in table
        ),
    ]


def _pairs(seen: dict[str, Any]) -> list[tuple[str, str]]:
    last = list(seen)[-4:]
    return list(pairwise(last))


def training() -> list[str]:
    steps, sizes = result("training_memory")["steps"], result("checkpoints")
    modes = ("none", "selective", "full")
    counted = {mode: steps[f"adapter, autocast, {mode}"] for mode in modes}
    small = steps["adapter, autocast, base in 8 bits, full"]
    base, adapter = sizes["parameters_2b"], 442_598_400 + 1_968_000
    table = [(f"| `bf16` | `{mode}` |", 2 * base, 20 * adapter, counted[mode]) for mode in modes]
    table += [("| `int8` | `full` |", base, 20 * adapter, small)]
    eight = 2 * (1 + 4 / 256)  # bytes of both moments, with a scale for each block of 256
    table += [("| `int8` | `full`, with `adamw8bit` and `ema = 0` |", base, (8 + eight) * adapter, small)]
    return [
        *(
            f"| `{mode}` | {c['kept_gib']:.1f} GiB | {c['peak_gib']:.1f} GiB | {c['tflop']:.0f} T |"
            for mode, c in counted.items()
        ),
        f"more than half of the forward's arithmetic for "
        f"{counted['selective']['kept_gib'] - counted['full']['kept_gib']:.0f} GiB",
        *(
            f"{start} {frozen / 1e9:.1f} | {trained / 1e9:.1f} | {(peak := case['peak_gib'] * 2**30) / 1e9:.1f} "
            f"| {sum(round(part / 1e9, 1) for part in (frozen, trained, peak)):.1f} |"
            for start, frozen, trained, case in table
        ),
        "The tests hold the pocket model's velocity and the gradients of a small adapter to within 1.5 %.",
        f"20 bytes for each of {(base + adapter) / 1e9:.1f} billion weights with AdamW, "
        f"{20 * (base + adapter) / 1e9:.0f} GB",
    ]


def extending() -> list[str]:
    cache = result("step_cache")
    ddim, noisy = (cache["samplers"][name] for name in ("ddim", "dpmpp-2m-sde"))
    other = (ddim["other_noise_psnr"] + noisy["other_noise_psnr"]) / 2
    cell = lambda found: "the same videos" if found["same_videos"] else f"{found['psnr']:.0f} dB"  # noqa: E731
    return [
        f"at {cache['steps']} steps (means of {cache['pairs']} videos; PSNR to the video without the cache; a video "
        f"from other noise has {other:.0f} dB; `benchmarks/step_cache.py`)",
        *(
            f"| {name} | {100 * ddim[name]['left_out']:.0f} % | {cell(ddim[name])} "
            f"| {100 * noisy[name]['left_out']:.0f} % | {cell(noisy[name])} |"
            for name in ("0.05", "0.1", "0.2", "0.3", "0.5")
        ),
    ]
