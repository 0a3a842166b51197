"""Complete runs compared with diffusers' schedulers, with a model that depends on latents and timestep."""

import pytest
import torch
from diffusers.schedulers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler
from diffusers.schedulers import scheduling_dpm_cogvideox as theirs

from refilm.diffusion import SAMPLERS, ddim, dpmpp_2m_sde, gaussian, run, scaled_linear

SHAPE = (2, 3, 4, 2, 2)
SETTINGS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "prediction_type": "v_prediction",
}


def predict(latents, timestep, fraction):
    return torch.sin(3 * latents + timestep / 100) - 0.3 * latents


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def noises(steps):
    return torch.randn(steps + 1, *SHAPE, generator=seeded(steps))


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 50])
@pytest.mark.parametrize("snr_shift", [3.0, 1.0])
def test_dpmpp_2m_sde_is_that_of_diffusers(steps, snr_shift, monkeypatch):
    start, *draws = noises(steps)
    scheduler = CogVideoXDPMScheduler(**SETTINGS, snr_shift_scale=snr_shift)
    scheduler.set_timesteps(steps)
    x, older, before = start.clone(), None, None
    schedule, fresh = scaled_linear(snr_shift=snr_shift), iter(draws)
    run = dpmpp_2m_sde(predict, start, schedule=schedule, levels=schedule.spaced(steps), draw=lambda: next(fresh))
    for step, timestep, noise in zip(run, scheduler.timesteps, draws, strict=True):
        monkeypatch.setattr(theirs, "randn_tensor", lambda *_, noise=noise, **__: noise)
        velocity = predict(x, timestep.item(), 0.0)
        x, older = scheduler.step(velocity, older, timestep, before, x)
        before = timestep
        assert step.timestep == timestep
        torch.testing.assert_close(step.clean, older, rtol=0, atol=2e-5)
        torch.testing.assert_close(step.latents, x, rtol=0, atol=2e-5)
    assert torch.equal(step.latents, step.clean)


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 50])
@pytest.mark.parametrize("snr_shift", [3.0, 1.0])
def test_ddim_is_that_of_diffusers(steps, snr_shift):
    start = x = noises(steps)[0]
    scheduler = CogVideoXDDIMScheduler(**SETTINGS, snr_shift_scale=snr_shift)
    scheduler.set_timesteps(steps)
    schedule = scaled_linear(snr_shift=snr_shift)
    run = ddim(predict, start, schedule=schedule, levels=schedule.spaced(steps))
    for step, timestep in zip(run, scheduler.timesteps, strict=True):
        x, clean = scheduler.step(predict(x, timestep.item(), 0.0), timestep, x, return_dict=False)
        torch.testing.assert_close(step.clean, clean, rtol=0, atol=2e-5)
        torch.testing.assert_close(step.latents, x, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [3, 7, 30])
def test_a_perfect_model_gives_the_video_and_the_start_is_left_alone(name, steps):
    """Its velocity always implies the same clean latents; the step counts do not divide 1000."""
    schedule, video = scaled_linear(), torch.randn(*SHAPE, generator=seeded(1))

    def knows_the_video(latents, timestep, fraction):
        alpha, sigma = schedule.alpha_sigma(timestep)
        return (alpha * latents - video) / sigma

    draw = gaussian(SHAPE, seeded(0))
    start = draw()
    kept = start.clone()
    run = SAMPLERS[name](knows_the_video, start, schedule=schedule, levels=schedule.spaced(steps), draw=draw)
    *_, last = run
    torch.testing.assert_close(last.latents, video, rtol=0, atol=1e-5)
    assert torch.equal(start, kept)
    assert not last.latents.requires_grad


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_latents_between_have_the_noise_of_their_timestep(name):
    """For a video of zeros the latents are noise with standard deviation sigma at the next timestep."""
    schedule, shape = scaled_linear(), (1, 8, 16, 32, 32)

    def knows_zeros(latents, timestep, fraction):
        alpha, sigma = schedule.alpha_sigma(timestep)
        return alpha / sigma * latents

    draw, levels = gaussian(shape, seeded(0)), schedule.spaced(10)
    run = SAMPLERS[name](knows_zeros, draw(), schedule=schedule, levels=levels, draw=draw)
    for step, following in zip(run, levels[1:], strict=False):
        assert step.latents.std().item() == pytest.approx(following.sigma, rel=0.02)


def test_steps_are_summed_in_float32():
    schedule, draw = scaled_linear(), gaussian(SHAPE, seeded(0), dtype=torch.bfloat16)
    *_, last = dpmpp_2m_sde(predict, draw(), schedule=schedule, levels=schedule.spaced(4), draw=draw)
    assert last.latents.dtype == torch.float32


def test_a_video_does_not_depend_on_those_beside_it():
    both = gaussian(SHAPE, [seeded(1), seeded(2)])
    alone = gaussian(SHAPE[1:], seeded(2))
    for _ in range(3):
        assert torch.equal(both()[1], alone())
    with pytest.raises(ValueError, match="received 1"):
        gaussian(SHAPE, [seeded(1)])


@pytest.mark.parametrize("sampler", [*SAMPLERS, "sat"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_the_step_that_leaves_the_range_of_numbers_is_named(sampler, wrong):
    """The only invalid value is almost the last one."""

    def overflowing(latents, timestep, fraction):
        velocity = predict(latents, timestep, fraction)
        if fraction >= 0.5:
            velocity[-1, -1, -1, -1, -1] = wrong
        return velocity

    steps = run(sampler, overflowing, schedule=scaled_linear(), steps=4, draw=gaussian(SHAPE, seeded(0)))
    assert [next(steps).index, next(steps).index] == [0, 1]
    with pytest.raises(FloatingPointError, match="the transformer, at step 3 of 4, gave NaN or infinity"):
        next(steps)
