"""What faster sampling costs: fewer steps, step caches and guidance in a part of the steps, on held-out critters.

    python benchmarks/speed.py                            # all cases
    python benchmarks/speed.py --cases exact,unipc --pairs 4 --steps 10 --out quick.json

Every case generates the videos of the same pairs of image and prompt (`critters.py`) from the same noise. For each:

- `runs`: runs of the transformer's blocks per video: passes without those that the step cache skips; they do not
  depend on the machine;
- `psnr`: mean PSNR in dB to the exact video, that of the same sampler with all steps, full guidance and no cache; none
  for exact videos. A sampler with noise in every step makes another video with fewer steps;
- `likeness`, `motion`, `scene`: fractions that the judge finds right, with 95 % intervals, as in `control.py`.

`other_noise_psnr` is the PSNR of exact videos from other noise, which have only prompt and image in common.

Writes benchmarks/results/speed.json, or `--out`, after every case; `--resume` keeps the cases that the file already
has. `speed_plot.py` draws it.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from control import score
from record import RESULTS, add_out, save, target

import refilm
from refilm.evaluation import psnr
from refilm.files import read_json
from refilm.generation.recipe import VideoRecipe
from refilm.pocket.judge import WEIGHTS, Judge
from refilm.pocket.pairs import Pair, held_out_pairs

RESULT = RESULTS / "speed.json"
PAIRS_SEED = 26  # used by no other program
BATCH = 4
SAMPLERS = ("ddim", "unipc", "dpmpp-2m-sde")
CHANGES = {"ddim": (0.05, 0.1, 0.2), "unipc": (), "dpmpp-2m-sde": (0.3,)}
ERRORS = {"ddim": (0.1, 0.2, 0.4), "unipc": (0.1, 0.2), "dpmpp-2m-sde": (0.1, 0.2)}


def cases(steps: int) -> dict[str, dict[str, Any]]:
    """The settings of every case by its name."""
    return {name: settings for sampler in SAMPLERS for name, settings in _of_sampler(sampler, steps).items()}


def _of_sampler(sampler: str, steps: int) -> dict[str, dict[str, Any]]:
    exact = {"sampler": sampler, "steps": steps}
    fewer = [round(part * steps) for part in (0.5, 0.4, 0.2)]
    found: dict[str, dict[str, Any]] = {"exact": exact}
    found |= {f"{count} steps": exact | {"steps": count} for count in fewer}
    found |= {f"change {value}": exact | {"step_cache": value} for value in CHANGES[sampler]}
    found |= {f"magnitude {value}": exact | _by_magnitude(value) for value in ERRORS[sampler]}
    if sampler == "unipc":
        found[f"{fewer[1]} steps and magnitude 0.2"] = exact | {"steps": fewer[1]} | _by_magnitude(0.2)
    if sampler == "ddim":
        for first, last in ((1, fewer[0]), (fewer[0] + 1, steps), (1, steps - fewer[2])):
            found[f"guidance in steps {first}-{last}"] = exact | {"guidance_steps": (first, last)}
    return {f"{sampler} {name}": settings for name, settings in found.items()}


def _by_magnitude(threshold: float) -> dict[str, Any]:
    return {"step_cache": threshold, "step_cache_rule": "magnitude"}


def generate(
    pipeline: refilm.Pipeline, pairs: Sequence[Pair], settings: dict[str, Any], *, noise: int = 0
) -> tuple[list[np.ndarray], float]:
    """The videos of a case, (F, H, W, 3) uint8 each, and the mean number of runs of the blocks."""
    videos, runs = [], []
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        for video in pipeline.generate_batch(
            [pair.story.caption for pair in batch],
            [pair.image for pair in batch],
            seeds=[1000 * (PAIRS_SEED + noise) + pair.index for pair in batch],
            **settings,
        ):
            made = VideoRecipe.of_video(video).made
            videos.append(video.frames)
            runs.append((made.passes or 0) - (made.skipped or 0))
    return videos, statistics.mean(runs)


def mean_psnr(videos: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float | None:
    """Mean PSNR in dB; None if all are equal."""
    found = statistics.mean(psnr(one, other) for one, other in zip(videos, others, strict=True))
    return None if math.isinf(found) else round(found, 3)


def measure(
    pipeline: refilm.Pipeline, pairs: Sequence[Pair], chosen: dict[str, dict[str, Any]], facts: dict[str, Any]
) -> Iterator[str]:
    """Measure the cases that the facts do not have, and yield the name of each."""
    judge, found = Judge.load(WEIGHTS), facts["cases"]
    for sampler in SAMPLERS:
        missing = [name for name in chosen if chosen[name]["sampler"] == sampler and name not in found]
        if not missing:
            continue
        exact = generate(pipeline, pairs, (settings := cases(facts["steps"])[f"{sampler} exact"]))
        if facts["other_noise_psnr"] is None:
            facts["other_noise_psnr"] = mean_psnr(generate(pipeline, pairs, settings, noise=1)[0], exact[0])
        for name in missing:
            videos, runs = exact if name.endswith("exact") else generate(pipeline, pairs, chosen[name])
            scores = score(pairs, judge.judge(videos))
            found[name] = {
                "settings": chosen[name],
                "runs": runs,
                "psnr": mean_psnr(videos, exact[0]),
                **{measured: scores[measured] for measured in ("likeness", "motion", "scene")},
            }
            yield name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50, help="Sampler steps of exact videos. Default: %(default)s.")
    parser.add_argument("--pairs", type=int, default=40, help="Pairs of image and prompt. Default: %(default)s.")
    parser.add_argument("--cases", help="Only cases whose names contain one of these texts, separated by commas.")
    parser.add_argument("--resume", action="store_true", help="Keep the cases that the file already has.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = (options.out or RESULT) if options.resume else target(parser, options.out, RESULT)
    facts = {"steps": options.steps, "pairs": options.pairs, "other_noise_psnr": None, "cases": {}}
    if options.resume and out.exists():
        stored = read_json(out)
        facts = {name: stored[name] for name in facts}
    pairs = held_out_pairs(PAIRS_SEED, facts["pairs"])
    wanted = [""] if options.cases is None else options.cases.split(",")
    chosen = {name: one for name, one in cases(facts["steps"]).items() if any(text in name for text in wanted)}
    with torch.inference_mode():
        for name in measure(refilm.load("pocket"), pairs, chosen, facts):
            save(out, facts)
            case = facts["cases"][name]
            print(name, case["runs"], case["psnr"], case["likeness"]["share"], case["motion"]["share"], flush=True)


if __name__ == "__main__":
    main()
