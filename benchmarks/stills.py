"""What an adapter learns from stills: trained on stills alone, on clips alone, and on both, with equally many samples.

    python benchmarks/stills.py                    # three adapters for the pocket model; keep two cores idle
    python benchmarks/stills.py --steps 50 --pairs 20 --folder runs/stills-trial --out trial.json

All three see critters with the same seeds: stills, clips of the same stories, or half of each (`--still-fraction`).
Each generates videos of held-out subjects, whose prompts describe motion and scene but not the appearance; the judge
(`judge.py`) classifies them. `likeness` is the fraction of a subject's five attributes that are right, `motion` and
`scene` are the fractions of right videos, with 95 % intervals over pairs. The row `no image` is the base model.
A run that was interrupted continues. Writes benchmarks/results/stills.json, or `--out`.
"""

import argparse
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, add_out, save, target

import refilm
from refilm.checkpoints import fingerprint, load_base
from refilm.data.drawn import Critters, StillCritters
from refilm.data.encoding import EncodeSettings, encode, identify
from refilm.data.samples import Joined, Source
from refilm.evaluation.intervals import interval
from refilm.files import read_json, write_json
from refilm.media.preprocessing import ImagePreprocessing
from refilm.pocket.judge import WEIGHTS, Judge, Judgement
from refilm.pocket.measures import likeness
from refilm.pocket.pairs import Pair, held_out_pairs
from refilm.training.checkpoint.checkpoints import checkpoints
from refilm.training.engine.loop import Progress
from refilm.training.recipes import AdapterRecipe
from refilm.training.run import train

RESULT = RESULTS / "stills.json"
TITLES = {"stills": "stills alone", "clips": "clips alone", "both": "both", "none": "no image"}


def sources(clips: int) -> dict[str, Source]:
    """The data sets by name; both have half of the stories as clips, and the same half as stills."""
    half = clips // 2
    return {
        "stills": StillCritters(clips),
        "clips": Critters(clips),
        "both": Joined((Critters(half), StillCritters(half))),
        "held_out": Critters(64, "held_out", seed=1),
    }


def encode_all(folder: Path, clips: int) -> None:
    """Encode the data sets, each into a cache of its own."""
    base = load_base("pocket", device="cpu", dtype="float32")
    base.read_images_with(ImagePreprocessing())
    settings = EncodeSettings(**base.defaults.model_dump(include={"frames", "fps", "height", "width"}))
    identity = identify(base.encoders, fingerprint)
    for name, source in sources(clips).items():
        for step in encode(source, base.encoders, folder / name, settings=settings, encoder_identity=identity):
            print(f"{name}: {step.done} of {step.total} {step.what}", flush=True)


def recipe(name: str, options: argparse.Namespace) -> AdapterRecipe:
    """The recipe of a row: the same for all, but for the clips."""
    diffusion = {
        "captions": [1.0, 0.0],
        "still_fraction": options.still_fraction if name == "both" else 0.0,
        "curriculum": [{"until": options.steps, "batch": options.batch}],
        "seed": options.seed,
    }
    return AdapterRecipe.from_values(
        {
            "stage": "adapter",
            "base": "pocket",
            "out": str(options.folder / f"{name}-adapter"),
            "data": {"cache": str(options.folder / name), "held_out": str(options.folder / "held_out")},
            "diffusion": diffusion,
            "loop": {
                "steps": options.steps,
                "validate_every": options.steps,
                "save_every": 100,
                "optimizer": {"warm_up": min(30, options.steps), "ema": 0.97},
            },
        }
    )


def trained(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train the adapter of a row unless that is done; its last validation, and the seconds since the last start."""
    run, known = options.folder / f"{name}-run", options.folder / f"{name}.json"
    if known.exists():
        return read_json(known)
    started, facts = time.perf_counter(), {}
    for event in train(recipe(name, options), run, resume=bool(checkpoints(run))):
        if isinstance(event, Progress) and event.scores:
            facts = {score: round(event.scores[score], 4) for score in ("right", "wrong", "none", "gap", "gap_error")}
        if isinstance(event, Progress) and event.step % 50 == 0:
            print(f"{name}: step {event.step}, loss {event.loss:.4f}", flush=True)
    write_json(known, {"validation": facts, "seconds": round(time.perf_counter() - started)})
    return read_json(known)


def videos_of(name: str, pairs: Sequence[Pair], options: argparse.Namespace) -> list[np.ndarray]:
    """One video for each pair, from the same noise in every row."""
    pipeline = refilm.load("pocket", adapter=None if name == "none" else str(options.folder / f"{name}-adapter"))
    videos = []
    for first in range(0, len(pairs), 20):
        part = pairs[first : first + 20]
        images = [None if name == "none" else pair.image for pair in part]
        captions, seeds = [pair.story.caption for pair in part], [pair.index for pair in part]
        made = pipeline.generate_batch(captions, images, seeds=seeds, steps=options.sampler_steps)
        videos += [video.frames for video in made]
        print(f"{name}: {len(videos)} of {len(pairs)} videos", flush=True)
    return videos


def scores(pairs: Sequence[Pair], seen: Sequence[Judgement]) -> dict[str, Any]:
    """Likeness, motion and scene, each with its interval over pairs."""
    hits = [one.matches(Judgement.of(pair.story)) for one, pair in zip(seen, pairs, strict=True)]
    values = {
        "likeness": [likeness(one, pair.story.subject) for one, pair in zip(seen, pairs, strict=True)],
        "motion": [float(hit["motion"]) for hit in hits],
        "scene": [float(hit["scene"]) for hit in hits],
    }
    groups = [pair.index for pair in pairs]
    found = {name: interval(each, groups, hit=name != "likeness") for name, each in values.items()}
    return {name: {"mean": one.mean, "low": one.low, "high": one.high} for name, one in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1024, help="Clips of each data set. Default: %(default)s.")
    parser.add_argument("--steps", type=int, default=800, help="Training steps. Default: %(default)s.")
    parser.add_argument("--batch", type=int, default=32, help="Samples in each step. Default: %(default)s.")
    parser.add_argument(
        "--still-fraction", type=float, default=0.5, help="Steps of `both` with stills. Default: %(default)s."
    )
    parser.add_argument("--pairs", type=int, default=100, help="Pairs to generate. Default: %(default)s.")
    parser.add_argument("--sampler-steps", type=int, default=20, help="Sampler steps. Default: %(default)s.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the runs. Default: %(default)s.")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/stills"), help="Folder of encodings and runs. Default: %(default)s."
    )
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    started = time.perf_counter()
    encode_all(options.folder, options.clips)
    print(f"encoded in {time.perf_counter() - started:.0f} s", flush=True)
    judge, pairs = Judge.load(WEIGHTS), held_out_pairs(1, options.pairs)
    settings = {name: value for name, value in vars(options).items() if name not in ("folder", "out")}
    result: dict[str, Any] = {
        **settings,
        "samples": options.steps * options.batch,
        "judge": hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(),
        "rows": {},
    }
    for name, title in TITLES.items():
        facts = {} if name == "none" else trained(name, options)
        seen = judge.judge(videos_of(name, pairs, options))
        result["rows"][name] = {"title": title, **facts, **scores(pairs, seen)}
        save(out, result)
        print(name, result["rows"][name], flush=True)


if __name__ == "__main__":
    main()
