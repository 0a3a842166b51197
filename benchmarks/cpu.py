"""Where sampling spends its time on a CPU, compared with diffusers' pipeline on the same work with the same weights.

    OMP_WAIT_POLICY=passive python benchmarks/cpu.py [--turns 5] [--steps 10] [--tokens 4096]

- `sampling`: the pocket model's sampler steps with guidance and without a reference, which diffusers does not have;
  one video, DDIM, from the same noise. Seconds of a step without the first one.
- `block`: one block of CogVideoX-2B's width with random weights, on one row of text and video tokens.

Both libraries take turns in one process, and the medians are compared; `ratio` is diffusers' time divided by refilm's.
`same` says whether the results are equal bit for bit, else `psnr` says how close they are. `parts` divides the time of
one profiled run by operators: matrix products, attention, norms, activations, and the rest, which is elementwise
arithmetic and copies. Run nothing else at the same time.

Writes benchmarks/results/cpu.json, or `--out`.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from gpu import generation
from gpu.comparing import likeness
from gpu.models import Sizes, random_transformer
from gpu.timing import Clock
from record import RESULTS, add_out, target, write
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import refilm
from refilm.backbones.cogvideox import sizes
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.checkpoints import save_transformer
from refilm.geometry import Grid
from refilm.model import Conditioning, conditional_rows

RESULT = RESULTS / "cpu.json"
CPU = torch.device("cpu")
PARTS = {
    "matrix products": ("addmm", "mm", "bmm", "convolution", "mkldnn"),
    "attention": ("_scaled_dot_product",),
    "norms": ("native_layer_norm",),
    "activations": ("gelu", "silu"),
}
Timed = Callable[[Clock], Tensor]
"""Runs with ticks, and returns the result."""


def compared(runs: dict[str, Timed], turns: int) -> dict[str, Any]:
    """The median seconds between ticks of refilm and diffusers in turn, and where the time goes."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    results: dict[str, Tensor] = {}
    for turn in range(turns + 1):
        for name, run in runs.items():
            clock = Clock(CPU)
            results[name] = run(clock)
            laps = clock.laps()
            seconds[name] += laps[1:] or laps if turn else []  # the first turn warms up
    ours, theirs = (statistics.median(seconds[name]) for name in ("refilm", "diffusers"))
    mine, others = results["refilm"].float(), results["diffusers"].float()
    return {
        **{name: {"seconds": statistics.median(seconds[name]), "parts": parts(run)} for name, run in runs.items()},
        "ratio": theirs / ours,
        **likeness(mine, others, peak=float(others.max() - others.min())),
    }


def parts(run: Timed) -> dict[str, float]:
    """The fraction of a run's time in each part."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run(Clock(CPU))
    found = dict.fromkeys([*PARTS, "rest"], 0.0)
    for event in profiled.key_averages():
        name = event.key.removeprefix("aten::")
        part = next((part for part, starts in PARTS.items() if name.startswith(starts)), "rest")
        found[part] += event.self_cpu_time_total
    total = sum(found.values())
    return {part: round(time / total, 4) for part, time in found.items()}


def of_diffusers(transformer: Transformer) -> CogVideoXTransformer3DModel:
    """diffusers' transformer with the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        save_transformer(transformer, Path(folder))
        return CogVideoXTransformer3DModel.from_pretrained(folder, torch_dtype=transformer.dtype).eval()


def sampling(turns: int, steps: int) -> dict[str, Any]:
    """Sampler steps of the pocket model."""
    pipeline = refilm.load("pocket", device="cpu")
    defaults = pipeline.base.defaults
    size = {"frames": defaults.frames, "height": defaults.height, "width": defaults.width}
    given = generation.Inputs.random(Sizes(transformer=pipeline.base.size, **size), CPU, pipeline.base.dtype)  # pyright: ignore[reportArgumentType]
    theirs = generation.diffusers_pipeline(of_diffusers(pipeline.base.transformer))  # pyright: ignore[reportArgumentType]
    theirs.scheduler = CogVideoXDDIMScheduler.from_pretrained(pipeline.base.source.folder / "scheduler")
    runs: dict[str, Timed] = {
        "refilm": lambda clock: generation.refilm_latents(
            pipeline, generation.Mode(), given, steps=steps, tick=clock.tick
        ),
        "diffusers": lambda clock: generation.diffusers_latents(theirs, given, steps=steps, tick=clock.tick),
    }
    return compared(runs, turns)


def block(turns: int, tokens: int) -> dict[str, Any]:
    """One block of CogVideoX-2B's width."""
    size = replace(sizes.cogvideox_2b(), layers=1)
    transformer = random_transformer(size, device=CPU, dtype=torch.float32)
    (ours,), (theirs,) = transformer.trunk.blocks, of_diffusers(transformer).transformer_blocks
    rng = torch.Generator().manual_seed(0)
    length, text = size.text_length, torch.randn(1, tokens, size.width, generator=rng)
    time, x = torch.randn(1, size.time_dim, generator=rng), text
    conditioning = Conditioning(time, length, Grid(1, 1, tokens - length), conditional_rows(1))

    def by_diffusers() -> Tensor:
        video, prompt = theirs(x[:, length:], x[:, :length], time)
        return torch.cat([prompt, video], dim=1)

    return compared(
        {"refilm": partial(ticked, lambda: ours(x, conditioning)), "diffusers": partial(ticked, by_diffusers)}, turns
    )


def ticked(run: Callable[[], Tensor], clock: Clock) -> Tensor:
    """Run with a tick before and after."""
    clock.tick()
    result = run()
    clock.tick()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="Turns of each library. Default: %(default)s.")
    parser.add_argument(
        "--steps",
        type=int,
        default=10,
        help="Sampler steps of a turn, a divisor of 1000 as diffusers needs. Default: %(default)s.",
    )
    parser.add_argument("--tokens", type=int, default=4096, help="Tokens of the block. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    with torch.inference_mode():
        found = {
            "sampling": sampling(options.turns, options.steps),
            "block": block(options.turns, options.tokens),
        }
    write(out, {"turns": options.turns, "steps": options.steps, "tokens": options.tokens, **found})


if __name__ == "__main__":
    main()
