"""What the step cache saves and costs: fraction of skipped block runs, and PSNR of the pocket model's videos.

    python benchmarks/step_cache.py [--steps 30] [--pairs 4]

For each sampler and threshold: the fraction of block runs that are skipped, and the mean PSNR to the same videos
without the cache. For comparison, the PSNR of videos from other noise, which only have prompt and image in common.
Writes benchmarks/results/step_cache.json, or `--out`.
"""

import argparse
import statistics
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from record import RESULTS, add_out, target, write

import refilm
from refilm.diffusion import StepCache
from refilm.evaluation import psnr
from refilm.model import Trunk, swapped
from refilm.pocket.pairs import Pair, held_out_pairs

RESULT = RESULTS / "step_cache.json"
PAIRS_SEED = 3  # used by no other program
SAMPLERS = ("ddim", "dpmpp-2m-sde")
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)


def make(
    pipeline: refilm.Pipeline, pairs: Sequence[Pair], *, sampler: str, steps: int, seed: int = 0, cache=None
) -> list[np.ndarray]:
    """Generate the pairs' videos, (F, H, W, 3) uint8 each."""
    trunk = pipeline.base.transformer
    with swapped(trunk, Trunk, wrap_blocks=lambda _: cache) if cache else nullcontext():
        videos = pipeline.generate_batch(
            [pair.story.caption for pair in pairs],
            [pair.image for pair in pairs],
            seeds=[seed + pair.index for pair in pairs],
            sampler=sampler,
            steps=steps,
        )
    return [video.frames for video in videos]


def mean_psnr(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """Mean PSNR in dB; infinite if all are equal."""
    return statistics.mean(psnr(one, other) for one, other in zip(ours, theirs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, help="Sampler steps. Default: %(default)s.")
    parser.add_argument("--pairs", type=int, default=4, help="Pairs of image and prompt. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    pipeline, pairs, samplers = refilm.load("pocket"), held_out_pairs(PAIRS_SEED, options.pairs), {}
    with torch.inference_mode():
        for sampler in SAMPLERS:
            how = {"sampler": sampler, "steps": options.steps}
            plain = make(pipeline, pairs, **how)
            measured: dict[str, object] = {
                "other_noise_psnr": mean_psnr(make(pipeline, pairs, **how, seed=1000), plain)
            }
            for threshold in THRESHOLDS:
                cached = make(pipeline, pairs, **how, cache=(cache := StepCache(threshold)))
                same = all(map(np.array_equal, cached, plain))
                found = {"left_out": cache.skipped / cache.calls, "psnr": None if same else mean_psnr(cached, plain)}
                measured[str(threshold)] = found | {"same_videos": same}
                print(sampler, threshold, measured[str(threshold)], flush=True)
            samplers[sampler] = measured
    write(out, {"steps": options.steps, "pairs": options.pairs, "samplers": samplers})


if __name__ == "__main__":
    main()
