"""What `refilm`'s commands gain on a CPU by keeping freed memory: fresh processes with and without it, in turns.

    python benchmarks/allocation.py [--turns 5]

Measures medians of processor seconds, including system time, of one thread: encoding and decoding a clip with the
pocket autoencoder, and a forward and backward of the pocket transformer. Writes benchmarks/results/allocation.json, or
`--out`.
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
    """Mean processor seconds of a function, after one call that does not count."""
    work()
    started = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - started) / TIMES


def turn(kept: bool) -> dict[str, float]:
    """All measurements in this process, which is a fresh one."""
    torch.set_num_threads(1)
    if kept and not keep_freed_memory():
        raise SystemExit(
            "this C library has no setting to keep freed memory; run this benchmark on a system with glibc"
        )
    base = load_base("pocket", device="cpu", dtype="float32")
    autoencoder, defaults, size = base.encoders.autoencoder, base.defaults, base.size
    video = torch.zeros(1, defaults.frames, defaults.height, defaults.width, 3, dtype=torch.uint8)
    latents = autoencoder.posterior(video)[0]
    batch = latents.expand(BATCH, -1, -1, -1, -1)
    timesteps, text = torch.full((BATCH,), 500), torch.zeros(BATCH, size.text_length, size.text_dim)

    def step() -> None:
        base.transformer(batch, timesteps, text).square().mean().backward()

    result = {
        "encode": seconds(lambda: autoencoder.posterior(video)),
        "decode": seconds(lambda: autoencoder.decode(latents)),
        "train": seconds(step),
    }
    return result | {"memory_gib": most_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="Turns of each kind. Default: %(default)s.")
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
        medians = {name: statistics.median(one[name] for one in turns) for name in turns[0]}
        result["kept" if kept else "given back"] = medians
    write(out, result)


if __name__ == "__main__":
    main()
