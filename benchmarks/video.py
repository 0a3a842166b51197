"""How long generating a video takes: the whole process of the command line, and the sampling alone.

    python benchmarks/video.py [--base pocket] [--repeats 3]

Writes benchmarks/results/video.json, or `--out`.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from record import RESULTS, add_out, target, write

import refilm
from refilm.data import critters

PROMPT = "a critter bounces in the meadow"
RESULT = RESULTS / "video.json"


def image(folder: Path) -> Path:
    """Write a held-out critter's image to a file."""
    path = folder / "critter.png"
    pixels = critters.portrait(critters.subjects("held_out")[0], np.random.default_rng(0), size=256)
    Image.fromarray(pixels).save(path)
    return path


def whole_process(base: str, reference: Path, steps: int) -> float:
    """Seconds of `refilm generate`, including the start of the process."""
    command = [sys.executable, "-m", "refilm.cli", "generate", PROMPT, "--reference", str(reference), "--base", base]
    command += ["--steps", str(steps), "--seed", "7", "-o", str(reference.with_suffix(".mp4"))]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def sampling(pipeline: refilm.Pipeline, reference: Path, steps: int) -> tuple[float, float]:
    """Seconds of `steps` sampler steps with guidance, and of decoding."""
    request = pipeline.request(steps=steps)
    started = time.perf_counter()
    *_, last = pipeline.sample([PROMPT], [reference], seeds=[7], request=request)
    sampled = time.perf_counter()
    pipeline.decode(last.latents)
    return sampled - started, time.perf_counter() - sampled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket", help="Base model: pocket, or a folder.")
    parser.add_argument("--steps", type=int, default=30, help="Sampler steps. Default: %(default)s.")
    parser.add_argument("--repeats", type=int, default=3, help="Measurements of each kind. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    with tempfile.TemporaryDirectory() as folder:
        reference = image(Path(folder))
        processes = [whole_process(options.base, reference, options.steps) for _ in range(options.repeats)]
        pipeline = refilm.load(options.base)
        sampling(pipeline, reference, 2)
        alone = [sampling(pipeline, reference, options.steps) for _ in range(options.repeats)]
    result = {
        "steps": options.steps,
        "guidance": pipeline.request().guidance,
        "process_seconds": statistics.median(processes),
        "sampling_seconds": statistics.median(s for s, _ in alone),
        "decoding_seconds": statistics.median(d for _, d in alone),
    }
    write(out, result)


if __name__ == "__main__":
    main()
