"""The step cache by magnitudes on a complete tiny transformer."""

from itertools import pairwise
from math import exp, log

import pytest
import torch

from refilm.diffusion import (
    Condition,
    MagnitudeCache,
    MagnitudeRecorder,
    Magnitudes,
    constant,
    gaussian,
    guided,
    limited,
    run,
    scaled_linear,
)
from refilm.errors import UserError
from refilm.model import Row, Trunk, swapped

from ..model.tiny import adapter, inputs, transformer

ADAPTER = adapter().requires_grad_(False)
STEPS = 10
SHRINKING = Magnitudes((999, 0), {"conditional": (0.0, -1.0), "unconditional": (0.0, -0.5)})


@pytest.fixture(scope="module")
def model():
    made = transformer()
    ADAPTER.attach(made)
    return made.requires_grad_(False)


def sample(model, wrapper, *, scale=None, begin=lambda timestep, fraction: None, after=None, until=STEPS):
    """The last step of a video with guidance."""
    _, _, text, reference = inputs(batch=1)
    condition = Condition(text, ADAPTER.references(reference))
    guidance = scale or constant(3.0)
    predict = guided(model, condition, unconditional=Condition(torch.zeros_like(text)), guidance=guidance)

    def begun(latents, timestep, fraction):
        begin(timestep, fraction)
        with swapped(model, Trunk, wrap_blocks=lambda _: wrapper):
            return predict(latents, timestep, fraction)

    draw = gaussian((1, 3, 16, 8, 12), torch.Generator().manual_seed(1))
    steps = run("ddim", begun, schedule=scaled_linear(), steps=STEPS, draw=draw, after=after)
    return next(step for step in steps if step.index == until - 1)


def cached(model, threshold, magnitudes=SHRINKING, **options):
    cache = MagnitudeCache(threshold, magnitudes, **options)
    return sample(model, cache, begin=cache.begin).latents, cache


def test_threshold_0_is_the_plain_run(model):
    latents, cache = cached(model, 0)
    assert torch.equal(latents, sample(model, None).latents)
    assert (cache.calls, cache.skipped) == (20, 0)


def test_a_higher_threshold_skips_more_and_strays_further(model):
    plain, skipped, strayed = sample(model, None).latents, [], []
    for threshold in (0.15, 0.4, 2.0):
        latents, cache = cached(model, threshold)
        skipped.append(cache.skipped)
        strayed.append((latents - plain).norm() / plain.norm())
    assert 0 < skipped[0] < skipped[1] < skipped[2] < 20
    assert 0 < strayed[0] < strayed[2]


def test_errors_add_up_until_the_threshold(model):
    """Steps are 100 timesteps apart: the ratios after 1, 2, 3 steps are about e^-0.1, e^-0.2, e^-0.3."""
    errors = [1 - exp(-0.1001 * count) for count in (1, 2, 3)]
    cache = MagnitudeCache(sum(errors[:2]) + 0.01, SHRINKING)
    before = []

    def begin(timestep, fraction):
        cache.begin(timestep, fraction)
        before.append(cache.skipped)

    sample(model, cache, begin=begin, scale=constant(1.0))
    skips = [later - earlier for earlier, later in pairwise([*before, cache.skipped])]
    assert skips == [0, 0, 1, 1, 0, 1, 1, 0, 1, 1]


def test_rows_that_run_together_skip_where_all_branches_allow_it(model):
    cache = MagnitudeCache(0.09, SHRINKING, first=0.0)
    latents, timestep, text, _ = inputs(batch=2)
    rows = Row("unconditional", 0), Row("conditional", 0)
    with swapped(model, Trunk, wrap_blocks=lambda _: cache):
        for timestep_now in (999, 899):  # their errors are 0.05 and 0.1
            cache.begin(timestep_now, 0.5)
            model(latents, timestep, text, rows=rows)
            model(latents[:1], timestep[:1], text[:1], rows=rows[:1])
    assert (cache.calls, cache.skipped) == (6, 1)


def test_a_skipped_step_adds_the_last_residual_scaled_by_the_ratio(model):
    cache, (latents, timestep, text, _) = MagnitudeCache(9.0, SHRINKING, first=0.0), inputs(batch=2)
    rows, seen = (Row("unconditional", 0), Row("conditional", 0)), []

    def noting(run, x, conditioning):
        seen.append((x, cache(run, x, conditioning)))
        return seen[-1][1]

    with swapped(model, Trunk, wrap_blocks=lambda _: noting):
        for timestep_now, own in ((999, latents), (500, latents + 0.1)):
            cache.begin(timestep_now, 0.5)
            model(own, timestep, text, rows=rows)
    (x, out), (later, reused) = seen
    ratios = torch.tensor([exp(-0.5 * 499 / 999), exp(-499 / 999)])[:, None, None]
    torch.testing.assert_close(reused, later + ratios * (out - x))


def test_most_and_first_limit_what_is_skipped(model):
    assert cached(model, 9.0, most=1)[1].skipped == 8  # every second step from the third on
    assert cached(model, 9.0, most=9, first=0.5)[1].skipped == 10


def test_new_rows_run(model):
    """Where guidance ends, the conditional branch goes on with its own residual; other rows start anew."""
    cache = MagnitudeCache(9.0, SHRINKING, first=0.0, most=9)
    sample(model, cache, begin=cache.begin, scale=limited(constant(3.0), range(5, 10), steps=STEPS))
    assert (cache.calls, cache.skipped) == (15, 13)  # each branch ran once


def test_the_recorder_measures_ratios_of_residuals(model):
    recorder, residuals = MagnitudeRecorder(), []

    def noting(run, x, conditioning):
        if conditioning.rows[0].branch == "conditional":
            residuals.append((run(x, conditioning) - x)[0, conditioning.text_length :])
        return recorder(run, x, conditioning)

    for _ in range(2):  # the second video is the same
        sample(model, noting, begin=lambda timestep, fraction: recorder.begin(timestep))
    made = recorder.magnitudes()
    assert set(made.logarithms) == {"conditional", "unconditional"}
    assert len(made.timesteps) == STEPS
    ratios = [(now.norm(dim=1) / then.norm(dim=1)).mean() for then, now in pairwise(residuals[:STEPS])]
    for index, ratio in enumerate(ratios):
        found = made.ratio("conditional", made.timesteps[index], made.timesteps[index + 1])
        assert found == pytest.approx(float(ratio), rel=1e-4)


def test_a_ratio_is_interpolated_between_timesteps():
    known = Magnitudes((100, 50, 0), {"conditional": (0.0, log(0.5), log(0.25))})
    assert known.ratio("conditional", 100, 0) == pytest.approx(0.25)
    assert known.ratio("text only", 75, 25) == pytest.approx(0.5)  # not calibrated


def test_a_restored_cache_goes_on_to_the_same_video(model):
    whole, cache = cached(model, 0.4)
    first = MagnitudeCache(0.4, SHRINKING)
    middle = sample(model, first, begin=first.begin, until=6)
    second = MagnitudeCache(0.4, SHRINKING)
    second.restore(first.state())
    assert torch.equal(sample(model, second, begin=second.begin, after=middle).latents, whole)
    assert (second.calls, second.skipped) == (cache.calls, cache.skipped)


@pytest.mark.parametrize(
    ("timesteps", "logarithms", "message"),
    [
        ((1.0,), {"conditional": (0.0,)}, "at least two timesteps, noise first"),
        ((0.0, 1.0), {"conditional": (0.0, 0.0)}, "noise first"),
        ((1.0, 0.0), {"unconditional": (0.0, 0.0)}, "conditional branch is missing"),
        ((1.0, 0.0), {"conditional": (0.0, float("nan"))}, "conditional: give one number for each of 2"),
    ],
)
def test_nonsense_is_refused(timesteps, logarithms, message):
    with pytest.raises(UserError, match=message):
        Magnitudes(timesteps, logarithms)
    with pytest.raises(UserError, match="the threshold must be 0 or more"):
        MagnitudeCache(-1.0, SHRINKING)
