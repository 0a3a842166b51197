"""The guidance settings of a generation, on the pocket model."""

import re

import pytest
import torch
from PIL import Image

import refilm
from refilm.errors import UserError
from refilm.generation import Pipeline
from refilm.generation.request import Request

PROMPT = "a critter bounces in the meadow"
STEPS = 4
NEUTRAL = {"guidance_form": "projected", "guidance_parallel": 1.0}
PROJECTED = {"guidance_form": "projected", "guidance_parallel": 0.2, "guidance_norm": 0.5, "guidance_momentum": -0.5}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return refilm.load()


@pytest.fixture(scope="module")
def image(fox) -> Image.Image:
    return Image.open(fox)


def sampled(pipeline, image, **settings):
    """The final latents of a short run, and the transformer's passes at every step."""
    transformer, rows, passes = pipeline.base.transformer, [], []
    hook = transformer.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    request = pipeline.request(steps=STEPS, frames=5, height=32, width=32, **settings)
    try:
        for step in pipeline.sample([PROMPT] * 2, [image] * 2, seeds=[7, 8], request=request):
            passes.append(sum(rows) // 2)
            rows.clear()
            latents = step.latents
    finally:
        hook.remove()
    return latents, passes


@pytest.mark.parametrize(
    "settings",
    [
        {"guidance_steps": f"1-{STEPS}"},
        {"guidance_steps": (1, STEPS)},
        {"guidance_form": "plain"},
        {"guidance_form": "rescaled", "guidance_rescale": 0},
        NEUTRAL,
        {"reference_guidance": 6.0},
    ],
)
def test_neutral_values_change_no_bit(pipeline, image, settings):
    plain, _ = sampled(pipeline, image, guidance=6.0)
    assert torch.equal(sampled(pipeline, image, guidance=6.0, **settings)[0], plain)


def test_neutral_forms_change_no_bit_of_separate_scales(pipeline, image):
    scales = {"guidance": 5.0, "reference_guidance": 3.0}
    plain, passes = sampled(pipeline, image, **scales)
    assert passes == [3] * STEPS
    for settings in ({"guidance_form": "rescaled", "guidance_rescale": 0}, NEUTRAL, {"guidance_steps": (1, STEPS)}):
        assert torch.equal(sampled(pipeline, image, **scales, **settings)[0], plain)


@pytest.mark.parametrize(
    "settings",
    [
        {"guidance_steps": "2-3"},
        {"guidance_form": "rescaled"},
        {"guidance_form": "projected"},
        {**NEUTRAL, "guidance_norm": 0.5},
        {**NEUTRAL, "guidance_momentum": -0.5},
        PROJECTED,
    ],
)
def test_other_values_change_the_video_in_the_same_way_each_time(pipeline, image, settings):
    plain, _ = sampled(pipeline, image, guidance=6.0)
    found, _ = sampled(pipeline, image, guidance=6.0, **settings)
    assert (found - plain).abs().max() > 0.01
    assert torch.equal(sampled(pipeline, image, guidance=6.0, **settings)[0], found)


COSTS = [
    ({"guidance": 6.0}, "guidance", "2 transformer passes per step", [2] * STEPS),
    ({"guidance": 1}, "guidance", "1 disables guidance: 1 pass", [1] * STEPS),
    ({"reference_guidance": 3.0}, "reference_guidance", "3 transformer passes per step", [3] * STEPS),
    ({"reference_guidance": 5.0}, "reference_guidance", "2 if both scales are equal", [2] * STEPS),
    ({"guidance_steps": "2-3"}, "guidance_steps", "every other step is 1 transformer pass", [1, 2, 2, 1]),
    ({"guidance_steps": "2-3", "reference_guidance": 3.0}, "guidance_steps", "is 1 transformer pass", [1, 3, 3, 1]),
    ({"guidance_schedule": "rising"}, "guidance_schedule", "Adds no transformer pass", [1, 2, 2, 2]),
    ({"negative_prompt": "night"}, "negative_prompt", "adds no transformer pass", [2] * STEPS),
    ({"guidance_form": "rescaled"}, "guidance_form", "Adds no transformer pass", [2] * STEPS),
    ({"guidance_form": "rescaled", "guidance_rescale": 1}, "guidance_rescale", "Adds no transformer pass", [2] * STEPS),
    *((PROJECTED, name, "Adds no transformer pass", [2] * STEPS) for name in PROJECTED),
    ({**PROJECTED, "reference_guidance": 3.0}, "guidance_form", "Adds no transformer pass", [3] * STEPS),
]


@pytest.mark.parametrize(("settings", "name", "sentence", "passes"), COSTS)
def test_a_step_costs_what_the_help_says(pipeline, image, settings, name, sentence, passes):
    assert sentence in " ".join(Request.model_fields[name].description.split())
    assert sampled(pipeline, image, **{"guidance": 5.0, **settings})[1] == passes


def test_every_guidance_setting_says_what_a_step_costs():
    for name, field in Request.model_fields.items():
        if "guidance" in name:
            assert re.search(r"\bpass(es)?\b", field.description), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"guidance_steps": "1-5"},
            r"guidance_steps: the run has 4 steps; give 1-4 or a part of it \(received '1-5'\)",
        ),
        ({"guidance_steps": "0-2"}, r"guidance_steps: give the first and the last step, counted from 1, for .* '0-2'"),
        ({"guidance_form": "flat"}, r"guidance_form: .*'plain', 'rescaled' or 'projected' \(received 'flat'\)"),
        ({"guidance_rescale": 0.5}, r"guidance_rescale: needs guidance_form rescaled; add it, or remove guidance_resc"),
        ({"guidance_form": "rescaled", "guidance_norm": 2.0}, r"guidance_norm: needs guidance_form projected; add it"),
        ({"guidance_form": "rescaled", "guidance_rescale": 1.5}, r"guidance_rescale: .*less than or equal to 1"),
        ({"guidance_form": "projected", "guidance_momentum": -1.0}, r"guidance_momentum: .*greater than -1"),
        ({"guidance_form": "projected", "sampler": "sat"}, r"sampler: guidance_form projected needs another sampler"),
    ],
)
def test_invalid_guidance_is_refused_before_sampling(pipeline, settings, message):
    with pytest.raises(UserError, match=message):
        pipeline.request(steps=STEPS, **settings)


def test_a_request_reads_back_as_it_was_written(pipeline):
    request = pipeline.request(steps=STEPS, guidance_steps="2-3", **PROJECTED)
    assert Request.from_values(request.to_values()) == request
    assert request.to_values()["guidance_steps"] == "2-3"
