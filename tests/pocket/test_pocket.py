"""The model that ships: small, in diffusers' format, and it puts an image's subject into a video."""

from collections.abc import Callable
from itertools import accumulate
from math import comb

import numpy as np
import pytest
from diffusers import CogVideoXPipeline
from PIL import Image
from safetensors import safe_open

import refilm
from refilm.checkpoints.sources import POCKET
from refilm.data import critters
from refilm.pocket.judge import WEIGHTS, Judge, Judgement
from refilm.previews import PREVIEW

PAIRS, FEW = 24, 6
RATES = {"color": 0.98, "second": 0.96, "shape": 0.94, "pattern": 0.83, "scene": 0.98, "motion": 0.98}
"""Accuracy at 8 sampler steps, measured on the first 48 of these pairs."""


def test_it_is_small_and_contains_half_precision_tensors_only():
    files = [path for path in POCKET.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 32e6
    weights = [path for path in files if path.suffix == ".safetensors" and path.name != PREVIEW]  # of 51 numbers
    assert len(weights) == 5  # text encoder, image encoder, transformer, autoencoder, adapter
    for path in weights:
        with safe_open(path, "pt") as tensors:
            assert {tensors.get_slice(key).get_dtype() for key in tensors.keys()} == {"F16"}  # noqa: SIM118


def test_diffusers_loads_it():
    pipeline = CogVideoXPipeline.from_pretrained(POCKET)
    assert pipeline.transformer.config.num_layers == 8
    assert pipeline.tokenizer("a critter waits at night").input_ids[-1] == pipeline.tokenizer.eos_token_id


@pytest.fixture(scope="module")
def hits() -> Callable[[str, int], dict[str, int]]:
    """How many videos match their story and its critter's image: with that image, another's, or none."""
    pipeline, judge = refilm.load("pocket"), Judge.load(WEIGHTS)

    def counted(row: str, pairs: int) -> dict[str, int]:
        stories = [critters.story(123, index, "held_out") for index in range(pairs)]
        right = [
            Image.fromarray(critters.portrait(story.subject, np.random.default_rng(index), size=96))
            for index, story in enumerate(stories)
        ]
        images = {"right": right, "wrong": right[1:] + right[:1], "none": [None] * pairs}[row]
        prompts = [story.caption for story in stories]
        videos = pipeline.generate_batch(prompts, images, seeds=range(pairs), steps=8)
        judgements = judge.judge([video.frames for video in videos])
        matches = [seen.matches(Judgement.of(story)) for seen, story in zip(judgements, stories, strict=True)]
        return {name: sum(match[name] for match in matches) for name in matches[0]}

    return counted


def fewest(pairs: int, rate: float, *, risk: float = 1e-4) -> int:
    """The number of hits that a model of that rate misses with less than that risk: the binomial's lower tail."""
    below = accumulate(comb(pairs, k) * rate**k * (1 - rate) ** (pairs - k) for k in range(pairs + 1))
    return next(k for k, chance in enumerate(below) if chance >= risk)


def test_videos_match_their_image_and_their_prompt(hits):
    """Other processors sum in another order, which may change a video; a worse model fails this test."""
    counted = hits("right", PAIRS)
    assert {name: counted[name] for name, rate in RATES.items() if counted[name] < fewest(PAIRS, rate)} == {}


@pytest.mark.parametrize("row", ["wrong", "none"])
def test_another_image_or_none_gives_other_critters(hits, row):
    assert hits(row, FEW)["color"] <= FEW - fewest(FEW, 7 / 8, risk=1e-2)  # 1 in 8 by chance
