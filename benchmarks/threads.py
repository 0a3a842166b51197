"""What it is worth that `refilm`'s commands let waiting threads sleep: `refilm generate`, whole processes, in turns.

    python benchmarks/threads.py [--turns 5]

Each turn runs every way once on the machine as it is, and once beside as many processes that spin as there are cores.
Medians of wall-clock and processor seconds; what else the machine had to do is told by its load before each run.
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
WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "waiting threads spin": (AS_BEFORE, {}),
    "waiting threads sleep": (COMMAND, {}),
    "one thread": (COMMAND, {"OMP_NUM_THREADS": "1"}),
}


def spin() -> None:
    while True:
        pass


@contextmanager
def beside(count: int) -> Iterator[None]:
    """So many processes that spin."""
    others = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def run(start: list[str], own: dict[str, str], words: list[str]) -> dict[str, float]:
    """One process, from start to end."""
    environment = {name: value for name, value in os.environ.items() if name not in (*CHOSEN_WITH, "OMP_NUM_THREADS")}
    load, started, before = os.getloadavg()[0], time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *start, *words], check=True, capture_output=True, env=environment | own)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor_seconds": processor, "load_before": load}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        words = ["generate", "a critter bounces in the meadow", "--seed", "7", "-o", str(Path(folder) / "video.mp4")]
        for turn in range(options.turns):
            for place, others in (("as it is", 0), ("beside spinning processes", os.cpu_count() or 1)):
                with beside(others):
                    for way, (start, own) in WAYS.items():
                        taken.setdefault((place, way), []).append(run(start, own, words))
                        print(turn, place, way, taken[place, way][-1], flush=True)
    result: dict[str, object] = {"turns": options.turns, "cores": os.cpu_count()}
    for (place, way), runs in taken.items():
        told = {name: round(statistics.median(one[name] for one in runs), 2) for name in runs[0]}
        result[f"{way}, {place}"] = told | {"each": [round(one["seconds"], 2) for one in runs]}
    write(out, result)


if __name__ == "__main__":
    main()
