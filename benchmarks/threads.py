"""What `refilm`'s commands gain by letting waiting threads sleep: whole processes of `refilm generate`, in turns.

    python benchmarks/threads.py [--turns 5]

Each turn runs every variant once on the machine as it is, and once beside as many busy-waiting processes as there are
cores. Measures medians of wall-clock and processor seconds; the load before each run shows what else the machine did.
Writes benchmarks/results/threads.json, or `--out`.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from record import RESULTS, add_out, target, write

from refilm.cli.threads import CHOSEN_WITH

RESULT = RESULTS / "threads.json"
COMMAND = ["-m", "refilm.cli"]
AS_BEFORE = ["-c", "from refilm.cli.app import app; from refilm.cli.allocation import *; keep_freed_memory(); app()"]
VARIANTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "waiting threads spin": (AS_BEFORE, {}),
    "waiting threads sleep": (COMMAND, {}),
    "one thread": (COMMAND, {"OMP_NUM_THREADS": "1"}),
}


def spin() -> None:
    while True:
        pass


@contextmanager
def beside(count: int) -> Iterator[None]:
    """Run `count` busy-waiting processes for the duration of the context."""
    others = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def run(start: list[str], own: dict[str, str], arguments: list[str]) -> dict[str, float]:
    """One process, from start to end."""
    environment = {name: value for name, value in os.environ.items() if name not in (*CHOSEN_WITH, "OMP_NUM_THREADS")}
    load, started, before = os.getloadavg()[0], time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *start, *arguments], check=True, capture_output=True, env=environment | own)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor_seconds": processor, "load_before": load}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="Turns of each variant. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            "generate",
            "a critter bounces in the meadow",
            "--seed",
            "7",
            "-o",
            str(Path(folder) / "video.mp4"),
        ]
        for turn in range(options.turns):
            for place, others in (("as it is", 0), ("beside spinning processes", os.cpu_count() or 1)):
                with beside(others):
                    for variant, (start, own) in VARIANTS.items():
                        taken.setdefault((place, variant), []).append(run(start, own, arguments))
                        print(turn, place, variant, taken[place, variant][-1], flush=True)
    result: dict[str, object] = {"turns": options.turns, "cores": os.cpu_count()}
    for (place, variant), runs in taken.items():
        medians = {name: round(statistics.median(one[name] for one in runs), 2) for name in runs[0]}
        result[f"{variant}, {place}"] = medians | {"each": [round(one["seconds"], 2) for one in runs]}
    write(out, result)


if __name__ == "__main__":
    main()
