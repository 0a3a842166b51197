"""What makes a reference adapter learn: the pocket adapter's recipe, shortened, with one thing changed per row.

    python benchmarks/study.py --prepare                  # encodes the clips, once
    python benchmarks/study.py --seed 0 [--rows a,b]      # trains and judges rows that have no result yet
    python benchmarks/study.py --table                    # all results as a Markdown table

Each run's result is a file in benchmarks/results/study, or in the folder `--out`; existing files are not overwritten.
Rows of one seed use the same samples, timesteps and noise. Each row reports the held-out loss with the right image,
another's and none, and the judge's accuracy on videos of held-out subjects, whose pairs differ from those of
`critters.py`. Several processes with disjoint rows and one thread each use the cores well.
"""

import argparse
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import RESULTS, write
from torch import nn

import refilm
from refilm.checkpoints import fingerprint, load_base
from refilm.data import critters
from refilm.data.drawn import Critters
from refilm.data.encoding import EncodeSettings, encode, identify
from refilm.data.samples import ImageFile, Sample, Source, hashed
from refilm.evaluation import accuracy
from refilm.media.preprocessing import HiddenState, ImagePreprocessing
from refilm.pocket.judge import ATTRIBUTES, WEIGHTS, Judge, Judgement
from refilm.pocket.pairs import Pair, held_out_pairs
from refilm.recipes import read_recipe
from refilm.training.checkpoint.checkpoints import checkpoints
from refilm.training.engine.loop import fit
from refilm.training.recipes import AdapterRecipe
from refilm.training.tasks.diffusion import DiffusionTask

HERE = Path(__file__).parent
STUDY = RESULTS / "study"
RECIPE = HERE.parent / "recipes" / "pocket" / "adapter.toml"
CLIPS, HELD_OUT = 4096, 64
STILLS, STEPS = 120, 320
PAIRS, PAIRS_SEED = 100, 1
SETTINGS: dict[str, Any] = {
    "base": "pocket",
    "diffusion.captions": [1.0, 0.0],
    "diffusion.curriculum": [
        {"until": STILLS, "latent_frames": 1, "batch": 96},
        {"until": STEPS, "latent_frames": 5, "batch": 32},
    ],
    "diffusion.validation.samples": 256,
    "loop.steps": STEPS,
    "loop.validate_every": STEPS,
    "loop.save_every": 50,
    "loop.optimizer.ema": 0.97,
    "loop.optimizer.warm_up": 30,
}


@dataclass(frozen=True)
class Row:
    """A run: the changes to the recipe and to the task."""

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[DiffusionTask], None] = lambda task: None
    clips: str = "portraits"
    """Encodings to train on."""
    held_out: str = "portraits"
    """Encodings to validate on."""


def random_output(task: DiffusionTask) -> None:
    """Initialize the L output layers like the SAT fork: normal with standard deviation 0.02 / sqrt(2 L)."""
    assert task.adapter is not None
    for layer in task.adapter.layers:
        nn.init.normal_(layer.out.weight, std=0.02 / math.sqrt(2 * len(task.adapter.layers)))


def like_sat(task: DiffusionTask) -> None:
    """What the SAT fork does beside its settings: random output layers, and a frozen random projection of the image."""
    random_output(task)
    assert task.adapter is not None
    task.adapter.projection.requires_grad_(False)


def drops(text: float, reference: float, both: float) -> dict[str, Any]:
    return {"diffusion.drop": {"text": text, "reference": reference, "both": both}}


def adamw(rate: float) -> dict[str, Any]:
    return {"loop.optimizer.kind": "adamw", "loop.optimizer.learning_rate": rate}


ROWS = {
    "shipped": Row("the recipe"),
    "random-output": Row("output layers start random, not at zero", prepare=random_output),
    "no-norm": Row("no norm before the reference attention", {"query_norm": False}),
    "penultimate": Row(
        "the image encoder's penultimate hidden state",
        {"hidden_state": "penultimate"},
        clips="penultimate",
        held_out="penultimate",
    ),
    "winners": Row(
        "penultimate hidden state and nothing dropped",
        {"hidden_state": "penultimate", **drops(0.0, 0.0, 0.0)},
        clips="penultimate",
        held_out="penultimate",
    ),
    "no-drops": Row("nothing dropped", drops(0.0, 0.0, 0.0)),
    "more-drops": Row("text, image and both dropped in 10 % each", drops(0.1, 0.1, 0.1)),
    "own-frames": Row("references are frames of the clip itself", clips="own-frames"),
    "adamw-3e-3": Row("AdamW for all, learning rate 3e-3", adamw(3e-3)),
    "adamw-1e-3": Row("AdamW for all, learning rate 1e-3", adamw(1e-3)),
    "adamw-1e-4": Row("AdamW for all, learning rate 1e-4", adamw(1e-4)),
    "adamw-1e-5": Row("AdamW for all, learning rate 1e-5", adamw(1e-5)),
    "research": Row(
        "as SAT: AdamW at 1e-5, no norm, random output, frozen projection, image never dropped",
        {**adamw(1e-5), **drops(0.1, 0.0, 0.0), "query_norm": False},
        prepare=like_sat,
    ),
    "research-1e-3": Row(
        "as SAT, but with AdamW at 1e-3",
        {**adamw(1e-3), **drops(0.1, 0.0, 0.0), "query_norm": False},
        prepare=like_sat,
    ),
}


class OwnFrames(Source):
    """Clips whose references are two of their own frames."""

    def __init__(self, clips: Critters, folder: Path):
        self.clips, self.folder = clips, folder

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int, /) -> Sample:
        chosen = np.random.default_rng((index, 5)).choice(critters.FRAMES, size=2, replace=False)
        paths = [self.folder / f"{index:05}-{frame:02}.png" for frame in chosen]
        if not all(path.exists() for path in paths):
            pixels = critters.draw_video(self.clips.seed, index, self.clips.split)
            for frame, path in zip(chosen, paths, strict=True):
                Image.fromarray(pixels[frame]).save(path)
        references = tuple(ImageFile(path, hashed(path)) for path in paths)
        return replace(self.clips[index], references=references)


def prepare(folder: Path) -> None:
    """Encode the clips of all rows. Latents and captions are the same for all, and encoded once."""
    base = load_base("pocket", device="cpu", dtype="float32")
    settings = EncodeSettings(**base.defaults.model_dump(include={"frames", "fps", "height", "width"}))
    train, held_out = Critters(CLIPS), Critters(HELD_OUT, "held_out", seed=1)
    (images := folder / "frames").mkdir(parents=True, exist_ok=True)
    sources: tuple[tuple[str, Source, HiddenState], ...] = (
        ("portraits", train, "last"),
        ("portraits-held-out", held_out, "last"),
        ("penultimate", train, "penultimate"),
        ("penultimate-held-out", held_out, "penultimate"),
        ("own-frames", OwnFrames(train, images), "last"),
    )
    for name, source, state in sources:
        first = folder / f"portraits{'-held-out' if 'held-out' in name else ''}"
        if not (folder / name).exists() and name != first.name:
            shutil.copytree(first, folder / name)
        base.read_images_with(ImagePreprocessing(hidden_state=state))
        identity = identify(base.encoders, fingerprint)
        steps = encode(source, base.encoders, folder / name, settings=settings, encoder_identity=identity)
        for step in steps:
            print(f"{name}: {step.done} of {step.total} {step.what}", flush=True)


def recipe_of(row: Row, seed: int, folder: Path) -> AdapterRecipe:
    """The recipe of a row."""
    data = {"cache": str(folder / row.clips), "held_out": str(folder / f"{row.held_out}-held-out")}
    recipe = read_recipe(RECIPE, {**SETTINGS, "data": data, "diffusion.seed": seed, **row.changes})
    assert isinstance(recipe, AdapterRecipe)
    return recipe


def judged(task: DiffusionTask, recipe: AdapterRecipe, judge: Judge, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The judge's accuracy on videos of held-out subjects, with the task's present weights."""
    base = recipe.open_base("float32", task.device)
    base.compute_with(task.transformer.eval(), task.adapter)
    pipeline = refilm.Pipeline(base, task.adapter)
    videos: list[np.ndarray] = []
    for first in range(0, len(pairs), 20):
        part = pairs[first : first + 20]
        made = pipeline.generate_batch(
            [pair.story.caption for pair in part],
            base.encoders.image([pair.image for pair in part]),
            seeds=[pair.index for pair in part],
        )
        videos += [video.frames for video in made]
    judgements = judge.judge(videos)
    hits = [seen.matches(Judgement.of(pair.story)) for seen, pair in zip(judgements, pairs, strict=True)]
    return {name: accuracy(hit[name] for hit in hits).to_values() for name in ATTRIBUTES}


def run(name: str, seed: int, folder: Path, out: Path) -> None:
    """Train and judge a row, unless its result exists."""
    result = out / f"{name}-{seed}.json"
    if result.exists():
        return
    row, kept = ROWS[name], folder / "runs" / f"{name}-{seed}"
    recipe = recipe_of(row, seed, folder)
    task = recipe.task()
    row.prepare(task)
    started, scores = time.perf_counter(), {}
    for progress in fit(task, recipe.loop, kept, resume=bool(checkpoints(kept))):
        scores = progress.scores or scores
        if progress.step % 50 == 0:
            print(f"{name} {seed}: step {progress.step}, loss {progress.loss:.4f}", flush=True)
    minutes = (time.perf_counter() - started) / 60
    judge, pairs = Judge.load(WEIGHTS), held_out_pairs(PAIRS_SEED, PAIRS)
    with torch.inference_mode():
        seen = judged(task, recipe, judge, pairs)
    values = {
        "row": name,
        "title": row.title,
        "seed": seed,
        "course": SETTINGS,
        "base": task.base_fingerprint,
        "clips": {"train": task.train.identity, "held_out": task.held_out.identity},
        "pairs": PAIRS,
        "minutes": round(minutes, 1),
        "scores": scores,
        "judge": seen,
        "judged_by": hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(),
    }
    write(result, values)
    shutil.rmtree(kept)


def table(out: Path) -> None:
    """All results together, as a Markdown table.

    Raises:
        ValueError: the results differ in settings, base model or judge, so they cannot be compared.
    """
    results = [json.loads(path.read_text()) for name in ROWS for path in sorted(out.glob(f"{name}-[0-9].json"))]
    for values in results:
        for what in ("course", "base", "pairs", "judged_by"):
            if values.get(what) != results[0].get(what):  # the first runs do not record their judge
                raise ValueError(
                    f"{values['row']}-{values['seed']}.json: {what} differs from that in {results[0]['row']}-"
                    f"{results[0]['seed']}.json; run one of them again"
                )
    attributes = tuple(results[0]["judge"])
    print("| | seed | right | wrong | none | gap | " + " | ".join(attributes) + " |")
    print("| --- |" + " ---: |" * (5 + len(attributes)))
    for values in results:
        scores, seen = values["scores"], values["judge"]
        losses = " | ".join(f"{scores[name]:.4f}" for name in ("right", "wrong", "none"))
        gap = f"{scores['gap']:.4f} ± {scores['gap_error']:.4f}"
        accuracies = " | ".join(f"{100 * seen[name]['share']:.0f}" for name in attributes)
        print(f"| {ROWS[values['row']].title} | {values['seed']} | {losses} | {gap} | {accuracies} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true", help="Encode the clips.")
    parser.add_argument("--table", action="store_true", help="Print the results as a Markdown table.")
    parser.add_argument("--rows", default=",".join(ROWS), help="Rows to run, separated by commas. Default: all.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the run. Default: %(default)s.")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/study"), help="Folder of encodings and runs. Default: %(default)s."
    )
    parser.add_argument("--out", type=Path, default=STUDY, help="Folder of the results. Default: %(default)s.")
    options = parser.parse_args()
    names = options.rows.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"--rows: {', '.join(unknown)}: unknown; choose from {', '.join(ROWS)}")
    if options.prepare:
        prepare(options.folder)
    elif options.table:
        table(options.out)
    else:
        for name in names:
            run(name, options.seed, options.folder, options.out)


if __name__ == "__main__":
    main()
