"""How a run of the pocket model comes on: the judge on videos by the newest checkpoint, a line each time.

    python benchmarks/curve.py recipes/pocket/base.toml runs/base        # a base model, told the looks in words
    python benchmarks/curve.py recipes/pocket/adapter.toml runs/adapter  # an adapter, by images

Adds a line to RUN/curve.jsonl: step, samples learned from, and the judge's scores. Training may go on meanwhile. The
pairs are others than those of `critters.py`.
"""

import argparse
import json
from pathlib import Path

import torch
from critters import COLUMNS, held_out_pairs, make_videos

import refilm
from refilm.checkpoints import load_base
from refilm.evaluation import accuracy
from refilm.pocket.judge import ATTRIBUTES, Judge, Verdict
from refilm.recipes import read_recipe
from refilm.training.batches.curriculum import samples_at
from refilm.training.checkpoint.checkpoints import load_checkpoint
from refilm.training.engine.step import Trainer
from refilm.training.recipes import AdapterRecipe, BaseRecipe

HERE = Path(__file__).parent
PAIRS_SEED = 1


def pipeline_of(recipe: AdapterRecipe | BaseRecipe, run: Path) -> tuple[refilm.Pipeline, int]:
    """The newest checkpoint's averaged weights, ready to video; and how many steps it had."""
    task = recipe.task()
    trainer = Trainer(task, recipe.loop)
    trainer.load_state(load_checkpoint(run))
    trainer.take_average()
    base = load_base(recipe.base, device="cpu", dtype="float32", memory="low")
    if isinstance(recipe, AdapterRecipe):
        base.read_images_with(hidden_state=recipe.hidden_state)
    base.compute_with(task.transformer.eval(), task.adapter)
    return refilm.Pipeline(base, task.adapter), trainer.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=20, help="videos made at once")
    parser.add_argument("--steps", type=int, help="sampler steps; left out: the base model's default")
    parser.add_argument("--guidance", type=float, help="guidance scale; left out: the base model's default")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    if not isinstance(recipe, AdapterRecipe | BaseRecipe):
        parser.error(f"{options.recipe}: stage {recipe.stage} makes no videos")
    options.looks, options.seed, options.progress = isinstance(recipe, BaseRecipe), PAIRS_SEED, False
    pipeline, step = pipeline_of(recipe, options.run)
    pairs = held_out_pairs(PAIRS_SEED, options.pairs)
    with torch.inference_mode():
        verdicts = Judge.load(HERE / "judge.safetensors").judge(make_videos("model", pairs, pipeline, options))
    hits = [seen.matches(Verdict.of(pair.story)) for seen, pair in zip(verdicts, pairs, strict=True)]
    scores = {COLUMNS.get(name, name): accuracy(hit[name] for hit in hits).share for name in ATTRIBUTES}
    samples = samples_at(recipe.diffusion.curriculum, step).start
    line = json.dumps({"step": step, "samples": samples, "pairs": options.pairs, **scores})
    with (options.run / "curve.jsonl").open("a") as file:
        file.write(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
