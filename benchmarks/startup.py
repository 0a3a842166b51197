"""How long commands take from start to end: whole processes of this tree and of an older one, in turns.

    python benchmarks/startup.py --older FOLDER [--turns 7]

`FOLDER` contains another checkout of refilm, which runs with the same Python environment. Measures medians of
wall-clock and processor seconds of `refilm generate` with the pocket model and a reference image, of `refilm info`, and
of `--help`; the load before each run shows what else the machine did. Each turn runs every command once in each tree.
Writes benchmarks/results/startup.json, or `--out`.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from record import RESULTS, add_out, target, write

from refilm.cli.app import Commands, DataCommands
from refilm.data import critters
from refilm.media import open_video

RESULT = RESULTS / "startup.json"
ROOT = Path(__file__).parents[1]
HELPS = ["", *Commands.places, "data", *(f"data {name}" for name in DataCommands.places)]
VIDEO = "video.mp4"


def run(tree: Path, words: list[str], folder: Path) -> dict[str, float]:
    """One process, from start to end."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    load, started, before = os.getloadavg()[0], time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "refilm.cli", *words]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor_seconds": processor, "load_before": load}


def medians(runs: list[dict[str, float]]) -> dict[str, object]:
    """The median of each measure, and the wall-clock seconds of each run."""
    return {name: round(statistics.median(one[name] for one in runs), 3) for name in runs[0]} | {
        "each": [round(one["seconds"], 3) for one in runs]
    }


def compared(runs: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """The medians of each tree and, for two, the median ratio of their wall-clock seconds in a turn."""
    result: dict[str, object] = {tree: medians(own) for tree, own in runs.items()}
    if len(runs) > 1:
        ratios = [new["seconds"] / old["seconds"] for new, old in zip(*runs.values(), strict=True)]
        result["ratio"] = round(statistics.median(ratios), 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--older", type=Path, help="Another checkout. Default: none, only this tree is measured.")
    parser.add_argument("--turns", type=int, default=7, help="Turns of each command. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    trees = {"this": ROOT} | ({} if options.older is None else {"older": options.older.resolve()})
    generate = ["generate", "a critter bounces in the meadow", "--reference", "image.png", "--seed", "7", "-o", VIDEO]
    commands = {"generate": generate, "info": ["info", "pocket"], "--help": ["--help"]}
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folders = {tree: Path(name) / tree for tree in trees}
        for folder in folders.values():
            folder.mkdir()
            subject = critters.story(7, 0, "held_out").subject
            Image.fromarray(critters.portrait(subject, np.random.default_rng(7))).save(folder / "image.png")
        for turn in range(options.turns):
            for what, words in commands.items():
                for tree, path in trees.items():
                    taken.setdefault((what, tree), []).append(run(path, words, folders[tree]))
                    print(turn, what, tree, taken[what, tree][-1], flush=True)
            for words in HELPS:
                one = run(ROOT, [*words.split(), "--help"], folders["this"])
                taken.setdefault(("slowest --help", words), []).append(one)
        videos = [open_video(folder / VIDEO).frames for folder in folders.values()]
    result: dict[str, object] = {"turns": options.turns, "cores": os.cpu_count()}
    for what in commands:
        result[what] = {tree: medians(taken[what, tree]) for tree in trees}
        if len(trees) > 1:
            ratios = [
                new["seconds"] / old["seconds"] for new, old in zip(*(taken[what, t] for t in trees), strict=True)
            ]
            result[what] |= {"ratio": round(statistics.median(ratios), 3)}
    if len(videos) > 1:
        result["same_video"] = bool(np.array_equal(*videos))
    helps = {words: medians(taken["slowest --help", words]) for words in HELPS}
    slowest = max(HELPS, key=lambda words: helps[words]["seconds"])
    result["slowest --help"] = {"command": f"refilm {slowest} --help", **helps[slowest]}
    write(out, result)


if __name__ == "__main__":
    main()
