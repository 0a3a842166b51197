"""What it is worth that `refilm`'s commands keep freed memory, on a CPU: fresh processes with and without, in turns.

    python benchmarks/allocation.py [--turns 5]

Medians of processor seconds, the system's among them, of one thread: a clip of the pocket autoencoder to latents and
back, forward and backward of the pocket transformer. Writes benchmarks/results/allocation.json, or `--out`.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable

import torch
from record import RESULTS, add_out, target, write

from refilm.checkpoints import load_base
from refilm.cli.allocation import keep_freed_memory
from refilm.training.monitor.memory import most_memory

RESULT = RESULTS / "allocation.json"
TIMES, BATCH = 5, 16


def seconds(work: Callable[[], object]) -> float:
    """Of a work's processor time, the first one apart."""
    work()
    started = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - started) / TIMES


def turn(kept: bool) -> dict[str, float]:
    """All works in this process, which is a fresh one."""
    torch.set_num_threads(1)
    if kept and not keep_freed_memory():
        raise SystemExit("this C library cannot be told to keep freed memory; run it where there is glibc")
    base = load_base("pocket", device="cpu", dtype="float32")
    autoencoder, defaults, size = base.encoders.autoencoder, base.defaults, base.size
    video = torch.zeros(1, defaults.frames, defaults.height, defaults.width, 3, dtype=torch.uint8)
    latents = autoencoder.posterior(video)[0]
    batch = latents.expand(BATCH, -1, -1, -1, -1)
    timesteps, text = torch.full((BATCH,), 500), torch.zeros(BATCH, size.text_length, size.text_dim)

    def step() -> None:
        base.transformer(batch, timesteps, text).square().mean().backward()

    told = {
        "encode": seconds(lambda: autoencoder.posterior(video)),
        "decode": seconds(lambda: autoencoder.decode(latents)),
        "train": seconds(step),
    }
    return told | {"memory_gib": most_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    taken: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for _ in range(options.turns):
        for kept, turns in taken.items():
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                turns.append(fresh.apply(turn, (kept,)))
    result: dict[str, object] = {"turns": options.turns, "batch": BATCH}
    for kept, turns in taken.items():
        told = {name: statistics.median(one[name] for one in turns) for name in turns[0]}
        result["kept" if kept else "given back"] = told
    write(out, result)


if __name__ == "__main__":
    main()
