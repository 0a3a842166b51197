"""Schedule, loss and sampler compared with tensors from the SAT fork with reference cross-attention."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from refilm.diffusion import by_timestep, sat, scaled_linear, velocity_loss
from refilm.diffusion.sat import nearest, sat_levels, sat_timesteps

FIXTURES = Path(__file__).parent / "fixtures"


def fixture(name):
    return load_file(FIXTURES / f"{name}.safetensors")


def close(ours, theirs, atol):
    torch.testing.assert_close(ours.to(theirs.dtype), theirs, rtol=0, atol=atol)


def test_levels():
    theirs = fixture("discretization")
    close(scaled_linear(zero_terminal_snr=False).alphas_cumprod, theirs["ddpm_alphas_cumprod_shifted_f64"], 1e-14)
    close(scaled_linear().alphas_cumprod.sqrt(), theirs["denoiser_sigmas"], 2e-7)


@pytest.mark.parametrize("steps", [5, 10, 50])
def test_levels_of_a_run(steps):
    theirs = fixture("discretization")
    assert list(sat_timesteps(steps)) == theirs[f"sampling_{steps}_timesteps"].flip(0).tolist()
    assert sat_timesteps(steps) == tuple(level.timestep for level in scaled_linear().spaced(steps))
    alphas = torch.tensor([level.alpha for level in sat_levels(steps, scaled_linear())])
    close(alphas, theirs[f"sampling_{steps}_alphas_cumprod_sqrt"], 2e-7)


def test_levels_snap_to_timesteps_a_few_away():
    schedule = scaled_linear()
    off = [nearest(schedule, alpha) - timestep for timestep, alpha, _ in sat_levels(5, schedule)]
    assert off == [0, -2, -4, -6, -8]


@pytest.mark.parametrize("group", ["a", "b", "c"])
def test_loss(group):
    theirs, schedule = fixture("loss"), scaled_linear()
    clean, noise, timesteps = theirs["x0"], theirs["noise"], theirs[f"{group}.idx"]
    prediction = theirs[f"{group}.network_out"]
    close(schedule.add_noise(clean, noise, timesteps), theirs[f"{group}.x_t"], 5e-5)
    denoised = schedule.clean(theirs[f"{group}.x_t"], prediction, timesteps)
    close(denoised, theirs[f"{group}.denoised_x0"], 5e-5)
    loss = velocity_loss(prediction, clean, noise=noise, timesteps=timesteps, schedule=schedule)
    close(loss, theirs[f"{group}.loss_per_sample"], 5e-5)


@pytest.mark.parametrize("steps", [5, 10])
def test_sampler_given_what_the_original_model_said(steps):
    theirs, trained = fixture(f"sampler_{steps}"), scaled_linear()
    levels = sat_levels(steps, trained)
    scale, draws = by_timestep(steps), iter(theirs["draws"])

    def says(latents, timestep, fraction):
        """The velocity that implies the recorded clean latents at the level to which the original snapped."""
        index = round(fraction * steps)
        assert timestep == theirs["timesteps"][index]
        assert scale(fraction, timestep) == pytest.approx(theirs["guidance_scale"][index].item(), abs=1e-9)
        assert levels[index].alpha == pytest.approx(theirs["sigma_given_to_denoiser"][index].item(), abs=2e-7)
        alpha, sigma = trained.alpha_sigma(nearest(trained, levels[index].alpha))
        return (alpha * latents - theirs[f"denoised_step{index}"]) / sigma

    for step in sat(says, theirs["start"], schedule=trained, steps=steps, draw=lambda: next(draws)):
        close(step.clean, theirs[f"denoised_step{step.index}"], 1e-5)
        close(step.latents, theirs[f"x_after_step{step.index}"], 5e-4)
    close(step.latents, theirs["final"], 5e-4)
    assert next(draws, None) is None


def test_guidance_of_fifty_steps():
    scales = [by_timestep(50)(0.0, timestep) for timestep in sat_timesteps(50)]
    close(torch.tensor(scales, dtype=torch.float64), fixture("embeddings")["g50_guidance"], 1e-9)
