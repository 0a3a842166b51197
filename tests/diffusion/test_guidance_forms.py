"""Forms of guidance, compared with diffusers' guiders on random predictions."""

import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from refilm.diffusion import (
    Condition,
    FlowMatching,
    constant,
    guided,
    limited,
    plain,
    projected,
    rescaled,
    scaled_linear,
)
from refilm.errors import UserError
from refilm.model import References

SHAPE = (2, 3, 4, 6, 5)
SCALE = 7.0
STEPS = 5
PROCESSES = {"v-prediction": scaled_linear(), "flow matching": FlowMatching(shift=3.0)}


def noise(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def predictions(index=0):
    """Latents, and the conditional and the unconditional velocity, of other sizes in each video."""
    sizes = torch.tensor([0.3, 2.0]).view(2, 1, 1, 1, 1)
    return noise(3 * index), sizes * noise(3 * index + 1), sizes * (noise(3 * index + 1) + 0.4 * noise(3 * index + 2))


@pytest.fixture(params=PROCESSES)
def process(request):
    return PROCESSES[request.param]


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.0])
def test_rescaled_is_that_of_diffusers(factor):
    latents, conditional, unconditional = predictions()
    mixed = unconditional + SCALE * (conditional - unconditional)
    found = rescaled(factor)(mixed, conditional, latents, 0.4)
    torch.testing.assert_close(found, rescale_noise_cfg(mixed, conditional, factor), rtol=1e-5, atol=1e-6)
    assert (found - mixed).abs().max() > 0.1


@pytest.mark.parametrize(
    "options",
    [
        {"parallel": 0.0},
        {"parallel": 0.4},
        {"parallel": 1.0, "norm": 0.5},
        {"parallel": 1.0, "momentum": -0.5},
        {"parallel": 0.2, "norm": 0.5, "momentum": -0.75},
        {"parallel": 0.2, "norm": 3.0, "momentum": 0.5},
    ],
)
def test_projected_is_that_of_diffusers_on_clean_estimates(process, options):
    form, levels = projected(process, STEPS, **options), process.spaced(STEPS)
    buffer = MomentumBuffer(options["momentum"]) if "momentum" in options else None
    threshold = options.get("norm", 0.0) * noise(0)[0].numel() ** 0.5 / (SCALE - 1)
    for index, level in enumerate(levels):
        latents, conditional, unconditional = predictions(index)
        mixed = unconditional + SCALE * (conditional - unconditional)
        clean = process.clean(latents, form(mixed, conditional, latents, index / STEPS), level)
        estimates = [process.clean(latents, velocity, level) for velocity in (conditional, unconditional)]
        expected = normalized_guidance(
            *estimates, SCALE - 1, buffer, options["parallel"], threshold, use_original_formulation=True
        )
        torch.testing.assert_close(clean, expected, rtol=1e-4, atol=1e-4)
        plainly = process.clean(latents, mixed, level)
        assert (clean - plainly).abs().max() > 1e-3 or (index == 0 and options.get("norm") in (None, 3.0))


def test_what_is_removed_is_parallel_to_the_conditional_estimate_of_each_video(process):
    latents, conditional, unconditional = predictions()
    mixed, level = unconditional + SCALE * (conditional - unconditional), process.spaced(STEPS)[2]
    found = projected(process, STEPS, parallel=0.0)(mixed, conditional, latents, 2 / STEPS)
    clean, guided_clean = (process.clean(latents, velocity, level) for velocity in (conditional, found))
    for update, estimate in zip((guided_clean - clean).flatten(1), clean.flatten(1), strict=True):
        assert torch.cosine_similarity(update, estimate, dim=0).abs() < 1e-5
        assert update.norm() > 0.1


def test_the_norm_limits_what_is_added_to_each_clean_estimate(process):
    latents, conditional, unconditional = predictions()
    mixed, level = unconditional + SCALE * (conditional - unconditional), process.spaced(STEPS)[2]
    found = projected(process, STEPS, parallel=1.0, norm=0.5)(mixed, conditional, latents, 2 / STEPS)
    sizes = [
        (process.clean(latents, velocity, level) - process.clean(latents, conditional, level))
        .square()
        .mean((1, 2, 3, 4))
        for velocity in (mixed, found)
    ]
    free, limited_sizes = (size.sqrt() for size in sizes)
    torch.testing.assert_close(limited_sizes, free.clamp(max=0.5), rtol=1e-4, atol=1e-5)
    assert free.max() > 0.5


def test_momentum_starts_anew_with_every_run(process):
    form = projected(process, STEPS, parallel=1.0, momentum=-0.5)

    def run(form):
        made = []
        for index in range(STEPS):
            latents, conditional, unconditional = predictions(index)
            made.append(
                form(unconditional + SCALE * (conditional - unconditional), conditional, latents, index / STEPS)
            )
        return torch.stack(made)

    first = run(form)
    assert torch.equal(run(form), first)
    assert torch.equal(run(projected(process, STEPS, parallel=1.0, momentum=-0.5)), first)
    assert not torch.equal(run(plain), first)


def test_neutral_values_are_plain_guidance(process):
    assert rescaled(0.0) is plain
    assert projected(process, STEPS, parallel=1.0) is plain
    almost = projected(process, STEPS, parallel=1.0, norm=1000.0)
    latents, conditional, unconditional = predictions()
    mixed = unconditional + SCALE * (conditional - unconditional)
    torch.testing.assert_close(almost(mixed, conditional, latents, 0.4), mixed, rtol=1e-3, atol=1e-3)


def test_a_run_longer_than_its_process_is_refused(process):
    with pytest.raises(UserError, match="steps: must be from 1 to 1000"):
        projected(process, 1001)


def model(latents, timesteps, text, references, *, rows):
    """A prediction in which text and reference change the direction, not only the size."""
    del timesteps, rows
    moved = latents.roll(1, dims=4) * text.mean((1, 2)).view(-1, 1, 1, 1, 1)
    if references is None:
        return latents + moved
    return latents + moved + latents.roll(1, dims=3) * references.tokens.mean((1, 2, 3)).view(-1, 1, 1, 1, 1)


GIVEN = Condition(torch.ones(1, 3, 4), References(torch.full((1, 1, 5, 6), 0.7)))
NULL = Condition(torch.zeros(1, 3, 4))
FORMS = {
    "rescaled": lambda: rescaled(0.7),
    "projected": lambda: projected(scaled_linear(), STEPS, parallel=0.2, norm=0.5, momentum=-0.5),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_with_three_branches_a_form_changes_the_whole_update(form):
    """At equal scales it is joint guidance; otherwise it starts from the sum of both updates."""

    def last(form, scale, likeness):
        scales = {"guidance": constant(scale), "reference_guidance": likeness and constant(likeness)}
        predict = guided(model, GIVEN, unconditional=NULL, form=form, **scales)
        return [predict(noise(index), 500, index / STEPS) for index in range(2)][-1]

    torch.testing.assert_close(last(form(), 4.0, 4.0001), last(form(), 4.0, None), rtol=1e-3, atol=1e-3)
    apart, conditional = last(form(), 4.0, 2.0), last(plain, 1.0, None)
    made = form()
    for index in range(2):
        velocities = [model(noise(index), 0, c.text, c.references, rows=[]) for c in (NULL, GIVEN)]
        text_only = model(noise(index), 0, GIVEN.text, None, rows=[])
        mixed = velocities[0] + 4 * (text_only - velocities[0]) + 2 * (velocities[1] - text_only)
        expected = made(mixed, velocities[1], noise(index), index / STEPS)
    torch.testing.assert_close(apart, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(velocities[1], conditional)
    assert (apart - last(plain, 4.0, 2.0)).abs().max() > 0.1


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_step_without_guidance_has_no_form(form):
    guidance = limited(constant(4.0), range(1, 3), steps=STEPS)
    predict = guided(model, GIVEN, unconditional=NULL, guidance=guidance, form=form())
    for index in range(STEPS):
        alone = model(noise(index), 0, GIVEN.text, GIVEN.references, rows=[])
        assert torch.equal(predict(noise(index), 500, index / STEPS), alone) == (index not in (1, 2))
