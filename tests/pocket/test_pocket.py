"""The model that ships: small, in the field's own format, and it puts a picture's subject into a film."""

from pathlib import Path

import numpy as np
import pytest
from diffusers import CogVideoXPipeline
from PIL import Image
from safetensors import safe_open

import refilm
from refilm.checkpoints.sources import POCKET
from refilm.data import critters
from refilm.evaluation import Judge, Verdict

JUDGE = Path(__file__).parents[2] / "benchmarks" / "judge.safetensors"
PAIRS = 12


def test_it_is_small_and_holds_half_precision_tensors_only():
    files = [path for path in POCKET.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 32e6
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert len(weights) == 5  # text encoder, image encoder, transformer, autoencoder, adapter
    for path in weights:
        with safe_open(path, "pt") as tensors:
            assert {tensors.get_slice(key).get_dtype() for key in tensors.keys()} == {"F16"}  # noqa: SIM118


def test_diffusers_opens_it():
    pipeline = CogVideoXPipeline.from_pretrained(POCKET)
    assert pipeline.transformer.config.num_layers == 8
    assert pipeline.tokenizer("a critter waits at night").input_ids[-1] == pipeline.tokenizer.eos_token_id


@pytest.fixture(scope="module")
def colors() -> dict[str, float]:
    """How often the body has the picture's color: with the right picture, another's, and none."""
    pipeline, judge = refilm.load("pocket"), Judge.load(JUDGE)
    stories = [critters.story(123, index, "held_out") for index in range(PAIRS)]
    pictures = [
        Image.fromarray(critters.portrait(story.subject, np.random.default_rng(index), size=96))
        for index, story in enumerate(stories)
    ]
    rows = {"right": pictures, "wrong": pictures[1:] + pictures[:1], "none": [None] * PAIRS}
    scores = {}
    for name, references in rows.items():
        prompts = [story.caption for story in stories]
        films = pipeline.generate_batch(prompts, references, seeds=range(PAIRS), steps=8)
        verdicts = judge.judge([film.frames for film in films])
        hits = [v.matches(Verdict.of(s))["color"] for v, s in zip(verdicts, stories, strict=True)]
        scores[name] = sum(hits) / PAIRS
    return scores


def test_the_film_has_the_color_of_its_picture(colors):
    assert colors["right"] >= 0.5  # 1 in 8 by chance


def test_another_picture_and_none_give_other_critters(colors):
    assert colors["wrong"] <= 0.4
    assert colors["none"] <= 0.4
