"""The SAT sampler, free-running on its tiny model; only the start and the noise samples are given."""

import pytest

from refilm.diffusion import Condition, denoise, scaled_linear

from .test_diffusion import close, fixture
from .test_transformer import model


@pytest.mark.parametrize("steps", [5, 10])
def test_sat(steps):
    theirs = fixture(f"sampler_{steps}")
    denoiser = model()
    given = Condition(theirs["cond_context"], denoiser.references(theirs["cond_ref_image"]))
    draws = iter([theirs["start"], *theirs["draws"]])
    count = 0
    for step in denoise("sat", denoiser, given, schedule=scaled_linear(), steps=steps, draw=lambda: next(draws)):
        close(step.clean, theirs[f"denoised_step{step.index}"], 5e-4)
        close(step.latents, theirs[f"x_after_step{step.index}"], 5e-4)
        count += 1
    close(step.latents, theirs["final"], 5e-4)
    assert (count, next(draws, None)) == (steps, None)
