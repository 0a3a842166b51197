"""Videos longer than the model's, by overlapping windows in time: seams, and likeness and motion over time.

    python benchmarks/windows.py
    python benchmarks/windows.py --pairs 4 --frames 49 --out quick.json

Videos of held-out critters (`critters.py`) are generated in windows that share 4, 8 or 12 of their 17 frames, in
windows that share none (hard cuts), and in one pass over all frames. A pair has the same noise everywhere.

- seam: the mean change from frame to frame where two windows meet (in the middle of their shared frames; for one pass
  where hard cuts are), divided by that elsewhere in the video; the mean over videos, with its 95 % interval.
- likeness, motion: what the judge finds right in each stretch of 17 frames, as in `control.py`.

Writes benchmarks/results/windows.json, or `--out`.
"""

import argparse
import time
from itertools import pairwise

import numpy as np
import torch
from control import score
from critters import HERE, held_out_pairs
from record import RESULTS, add_out, target, write
from rich.progress import track as progress

import refilm
from refilm.diffusion import Windows
from refilm.evaluation.metrics import Z95
from refilm.generation.long import windows_of
from refilm.geometry import Compression
from refilm.pocket.judge import Judge

RESULT = RESULTS / "windows.json"
PAIRS_SEED = 13  # used by no other program
STRETCH = 16  # frames from the start of a stretch to the start of the next
OVERLAPS = {"12 shared frames": 12, "8 shared frames": 8, "4 shared frames": 4, "hard cuts": 0, "one pass": None}


def met(frames: int, windows: Windows, compression: Compression) -> np.ndarray:
    """For each change from a frame to the next, whether two windows meet there: (F - 1,) bool."""
    found = np.zeros(frames - 1, bool)
    for one, other in pairwise(windows.starts):
        first, end = compression.frames(other), compression.frames(one + windows.length)  # shared frames
        found[(first + end) // 2 - 1] = True
    return found


def seam(video: np.ndarray, where: np.ndarray) -> float:
    """The mean change where windows meet, divided by that elsewhere."""
    changes = np.abs(np.diff(video.astype(float), axis=0)).mean(axis=(1, 2, 3))
    return float(changes[where].mean() / max(changes[~where].mean(), 1e-9))


def interval(values: list[float]) -> dict[str, float]:
    """Mean with its 95 % interval."""
    mean, error = np.mean(values), Z95 * np.std(values, ddof=1) / len(values) ** 0.5
    return {"mean": float(mean), "low": float(mean - error), "high": float(mean + error), "count": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20, help="Pairs of image and prompt. Default: %(default)s.")
    parser.add_argument("--frames", type=int, default=97, help="Frames of a video. Default: %(default)s.")
    parser.add_argument("--batch", type=int, default=5, help="Videos generated at once. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    pipeline, judge = refilm.load("pocket"), Judge.load(HERE / "judge.safetensors")
    base, pairs, rows = pipeline.base, held_out_pairs(PAIRS_SEED, options.pairs), {}

    def windows(**settings: int) -> Windows:
        request = pipeline.request(frames=options.frames, **settings)
        return windows_of(request, base.defaults.frames, base.size, base.compression)

    for name, overlap in progress(OVERLAPS.items(), "windows"):
        settings = {"window": options.frames} if overlap is None else {"window_overlap": overlap}
        started, videos = time.perf_counter(), []
        for first in range(0, len(pairs), options.batch):
            batch = pairs[first : first + options.batch]
            made = pipeline.generate_batch(
                [pair.story.caption for pair in batch],
                [pair.image for pair in batch],
                seeds=[1000 * PAIRS_SEED + pair.index for pair in batch],
                frames=options.frames,
                **settings,
            )
            videos += [video.frames for video in made]
        seconds = (time.perf_counter() - started) / len(pairs)
        shared = met(options.frames, windows(window_overlap=overlap or 0), base.compression)
        stretches = range(0, options.frames - STRETCH, STRETCH)
        rows[name] = {
            "windows": len(windows(**settings).starts),
            "seconds": round(seconds, 2),
            "seam": interval([seam(video, shared) for video in videos]),
            "stretches": [
                score(pairs, judge.judge([v[start : start + STRETCH + 1] for v in videos])) for start in stretches
            ],
        }
    write(out, {"pairs": options.pairs, "frames": options.frames, "rows": rows})


if __name__ == "__main__":
    with torch.inference_mode():
        main()
