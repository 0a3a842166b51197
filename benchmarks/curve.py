"""The progress of a pocket model's run: judges videos of its newest checkpoint and appends one line.

    python benchmarks/curve.py recipes/pocket/base.toml runs/base        # a base model; prompts describe the subject
    python benchmarks/curve.py recipes/pocket/adapter.toml runs/adapter  # an adapter, with reference images

Appends a line to RUN/curve.jsonl: step, training samples, and the judge's scores. Training may continue meanwhile. The
pairs differ from those of `critters.py`.
"""

import argparse
import json
from pathlib import Path

import torch
from critters import COLUMNS, make_videos

import refilm
from refilm.checkpoints import load_base
from refilm.evaluation import accuracy
from refilm.pocket.judge import ATTRIBUTES, WEIGHTS, Judge, Judgement
from refilm.pocket.pairs import held_out_pairs
from refilm.recipes import read_recipe
from refilm.training.batches.curriculum import samples_at
from refilm.training.checkpoint.checkpoints import load_checkpoint
from refilm.training.engine.step import Trainer
from refilm.training.recipes import AdapterRecipe, BaseRecipe

HERE = Path(__file__).parent
PAIRS_SEED = 1


def pipeline_of(recipe: AdapterRecipe | BaseRecipe, run: Path) -> tuple[refilm.Pipeline, int]:
    """A pipeline with the newest checkpoint's averaged weights, and the checkpoint's step."""
    task = recipe.task()
    trainer = Trainer(task, recipe.loop)
    trainer.load_state(load_checkpoint(run))
    trainer.take_average()
    base = load_base(recipe.base, device="cpu", dtype="float32", memory="low")
    if isinstance(recipe, AdapterRecipe):
        base.read_images_with(recipe.preprocessing)
    base.compute_with(task.transformer.eval(), task.adapter)
    return refilm.Pipeline(base, task.adapter), trainer.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="The recipe of the run.")
    parser.add_argument("run", type=Path, help="Folder of the run.")
    parser.add_argument("--pairs", type=int, default=100, help="Pairs of image and prompt. Default: %(default)s.")
    parser.add_argument("--batch", type=int, default=20, help="Videos generated at once. Default: %(default)s.")
    parser.add_argument("--steps", type=int, help="Sampler steps. Default: the base model's.")
    parser.add_argument("--guidance", type=float, help="Guidance scale. Default: the base model's.")
    options = parser.parse_args()
    recipe = read_recipe(options.recipe)
    if not isinstance(recipe, AdapterRecipe | BaseRecipe):
        parser.error(f"{options.recipe}: stage {recipe.stage} generates no videos; use one of stage base or adapter")
    options.appearance, options.seed, options.progress = isinstance(recipe, BaseRecipe), PAIRS_SEED, False
    pipeline, step = pipeline_of(recipe, options.run)
    pairs = held_out_pairs(PAIRS_SEED, options.pairs)
    with torch.inference_mode():
        judgements = Judge.load(WEIGHTS).judge(make_videos("model", pairs, pipeline, options))
    hits = [seen.matches(Judgement.of(pair.story)) for seen, pair in zip(judgements, pairs, strict=True)]
    scores = {COLUMNS.get(name, name): accuracy(hit[name] for hit in hits).fraction for name in ATTRIBUTES}
    samples = samples_at(recipe.diffusion.curriculum, step).start
    line = json.dumps({"step": step, "samples": samples, "pairs": options.pairs, **scores})
    with (options.run / "curve.jsonl").open("a") as file:
        file.write(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
