"""Whether videos that remember are made again exactly: reruns from metadata and JSON, and drafts that are finished.

    python benchmarks/remember.py             # some minutes on one core

- rerun: videos of different settings (one and two subjects, masks, curves, words, guidance, windows, samplers) are
  saved as MP4, then made again from the recipe in the metadata and from the JSON beside it, with a model loaded anew.
- draft: seeds are sampled for some steps, saved as state files, and finished by a model that is loaded anew; with two
  samplers, guided and not, with the step cache.

Counts the videos whose frames are equal bit for bit; writes benchmarks/results/remember.json, or `--out`.
"""

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import RESULTS, add_out, target, write
from rich.progress import track as progress

import refilm
from refilm import Pipeline, Subject, Video
from refilm.data import critters
from refilm.generation.recipe import VideoRecipe, read_video_recipe, recipe_path, save_with_recipe
from refilm.generation.rerun import load_for, sampling_of
from refilm.generation.states import load_state, save_state

RESULT = RESULTS / "remember.json"
PROMPT = "a critter bounces in the meadow"
SEEDS, UNTIL, STEPS = 10, 3, 6


def files(folder: Path) -> None:
    """Write the images and masks of the subjects."""
    for number, one in enumerate(critters.subjects("held_out")[:3]):
        Image.fromarray(critters.portrait(one, np.random.default_rng(0))).save(folder / f"{number}.png")
    left = np.pad(np.full((64, 32), 255, np.uint8), ((0, 0), (0, 32)))
    Image.fromarray(left).save(folder / "left.png")
    moving = np.stack([np.roll(left, 2 * frame, axis=1) for frame in range(17)])
    Video(np.repeat(moving[..., None], 3, axis=-1), 8).save(folder / "moving.gif", scale=1)


def runs(folder: Path) -> list[tuple[Any, dict[str, Any]]]:
    """Twenty references with settings."""
    one, side, other = (folder / f"{number}.png" for number in range(3))
    fox, ball = {"images": (one, side), "name": "fox"}, {"images": other, "name": "ball"}
    pair = [Subject(**fox), Subject(**ball)]
    masked = [Subject(**fox, mask=folder / "left.png"), Subject(**ball, mask=folder / "moving.gif")]
    return [
        (None, {}),
        (one, {}),
        ([one, side], {"guidance": 1.0}),
        (Subject(**fox, weights=(2.0, 1.0), image_masks=(folder / "left.png",) * 2), {}),
        (Subject(**fox, frames="1:0 9:1"), {"sampler": "ddim"}),
        (Subject(**fox, steps="2-5", blocks="0..1"), {}),
        (Subject(**fox, words="critter"), {}),
        (Subject(**fox, scale=0.5), {"reference_scale": 1.5}),
        (pair, {}),
        (pair, {"binding": "joint"}),
        (masked, {}),
        (masked, {"binding": "joint", "step_cache": 0.2}),
        (one, {"negative_reference": other, "negative_prompt": "rain"}),
        (one, {"reference_guidance": 2.0, "guidance_schedule": "rising"}),
        (one, {"guidance_form": "projected", "guidance_momentum": -0.5, "guidance_norm": 3.0}),
        (one, {"guidance_form": "rescaled", "guidance_steps": (2, 4)}),
        (one, {"frames": 33}),
        (masked, {"frames": 17, "window": 9, "window_overlap": 4}),
        (one, {"sampler": "unipc", "kernel": "math"}),
        (one, {"sampler": "sat"}),
    ]


def rerun(folder: Path) -> dict[str, int]:
    """How many videos are made again exactly, from metadata and from JSON."""
    pipeline, same = refilm.load("pocket"), {"metadata": 0, "JSON": 0}
    wanted = runs(folder)
    for number, (reference, settings) in enumerate(progress(wanted, "rerun")):
        video = pipeline.generate(PROMPT, reference, seed=number, **{"steps": STEPS, **settings})
        path = folder / f"{number}.mp4"
        save_with_recipe(video, VideoRecipe.of_video(video), path)
        for name, source in (("metadata", path), ("JSON", recipe_path(path))):
            recipe = read_video_recipe(source)
            (again,) = finished(load_for(recipe), [recipe])
            same[name] += np.array_equal(again.frames, video.frames)
    return {"videos": len(wanted), **same}


def finished(pipeline: Pipeline, recipes: Any, **options: Any) -> list[Video]:
    """The videos of recipes."""
    return pipeline.finish(sampling_of(pipeline, recipes, **options))


def draft(folder: Path) -> list[dict[str, Any]]:
    """How many finished drafts are the uninterrupted videos, for each kind of run."""
    rows = []
    kinds = list(product(("dpmpp-2m-sde", "unipc"), (1.0, 4.0)))
    for sampler, guidance in progress(kinds, "draft"):
        pipeline, same = refilm.load("pocket"), 0
        settings = {"sampler": sampler, "guidance": guidance, "steps": STEPS, "step_cache": 0.1}
        for seed in range(SEEDS):
            run = pipeline.sample([PROMPT], [folder / "0.png"], seeds=[seed], request=pipeline.request(**settings))
            for _ in range(UNTIL):
                next(run)
            path = save_state(run, folder / f"{seed}.state")
            (whole,) = pipeline.finish(run)
            stored = load_state(path)
            (video,) = finished(load_for(stored.recipes[0]), stored.recipes, state=stored.state)
            same += np.array_equal(video.frames, whole.frames)
        rows.append({"sampler": sampler, "guidance": guidance, "step_cache": 0.1, "drafts": SEEDS, "same": same})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_out(parser, RESULT)
    out = target(parser, parser.parse_args().out, RESULT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files(folder)
        write(out, {"steps": STEPS, "until": UNTIL, "rerun": rerun(folder), "draft": draft(folder)})


if __name__ == "__main__":
    main()
