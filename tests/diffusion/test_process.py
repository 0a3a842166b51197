"""Flow matching and v-prediction in the same samplers, loss and guidance; levels and steps are those of diffusers."""

from itertools import pairwise

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from refilm.diffusion import SAMPLERS, FlowMatching, Process, min_snr_weights, run, scaled_linear, velocity_loss
from refilm.errors import UserError

SHAPE = (2, 3, 4, 2, 2)


@pytest.mark.parametrize("process", [FlowMatching(shift=3.0), scaled_linear(snr_shift=1.0)])
def test_both_are_processes_whose_parts_agree(process):
    assert isinstance(process, Process)
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    timesteps = torch.tensor([7, 60])
    noisy, velocity = process.add_noise(clean, noise, timesteps), process.velocity(clean, noise, timesteps)
    torch.testing.assert_close(process.clean(noisy, velocity, timesteps), clean, rtol=0, atol=1e-5)
    torch.testing.assert_close(process.noise(noisy, velocity, timesteps), noise, rtol=0, atol=1e-5)
    loss = velocity_loss(velocity, clean, noise=noise, timesteps=timesteps, schedule=process)
    torch.testing.assert_close(loss, torch.zeros(2), rtol=0, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_is_that_of_diffusers(steps, shift):
    theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
    compare("euler", theirs, FlowMatching(shift=shift, spacing="euler"), steps)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_unipc_is_that_of_diffusers(steps, shift):
    theirs = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
    # theirs keeps sigma in float32, so that alpha of its first level, 1e-6, is off by 1.3 %
    compare("unipc", theirs, FlowMatching(shift=shift), steps, atol=1e-4)


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_dpmpp_is_that_of_diffusers(steps, monkeypatch):
    theirs = DPMSolverMultistepScheduler(
        algorithm_type="sde-dpmsolver++", prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    draws = torch.randn(steps, *SHAPE, generator=torch.Generator().manual_seed(1))
    module = "diffusers.schedulers.scheduling_dpmsolver_multistep.randn_tensor"
    monkeypatch.setattr(module, lambda *_, **__: draws[theirs.step_index])
    compare("dpmpp-2m-sde", theirs, FlowMatching(shift=3.0, spacing="dpmpp"), steps, draws)


def compare(sampler, theirs, process, steps, draws=(), *, atol=2e-5) -> None:
    """A model that bends, so that a wrong coefficient or timestep shows."""

    def predict(latents, timestep, fraction):
        return torch.sin(latents + timestep / 100) - 0.3 * latents

    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    theirs.set_timesteps(steps)
    fresh, levels = iter(draws), process.spaced(steps)
    ours = SAMPLERS[sampler](predict, x, schedule=process, levels=levels, draw=lambda: next(fresh))
    for step, timestep in zip(ours, theirs.timesteps, strict=True):
        assert step.timestep == pytest.approx(timestep.item(), rel=1e-6)
        x = theirs.step(predict(x, timestep, 0.0), timestep, x, return_dict=False)[0]
        torch.testing.assert_close(step.latents, x, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("spacing", ["unipc", "dpmpp", "euler"])
@pytest.mark.parametrize("shift", [0.1, 0.2, 0.45, 1.0, 7.3, 100.0])
def test_levels_fall_at_any_shift(spacing, shift):
    """Rounding makes no level noisier than noise, and no two levels equal."""
    process = FlowMatching(shift=shift, spacing=spacing)
    for steps in (1, 3, 50, 1000):
        sigmas = [level.sigma for level in process.spaced(steps)]
        assert sigmas[0] <= 1
        assert all(one > other > 0 for one, other in pairwise(sigmas))
    assert process.alpha_sigma(torch.tensor([999]), dtype=torch.float64)[0].item() >= 0


def test_what_the_model_receives_is_the_level_of_noise():
    process, timesteps = FlowMatching(shift=3.0), torch.tensor([0, 499, 999])
    sigma = process.alpha_sigma(timesteps)[1].flatten()
    torch.testing.assert_close(sigma, torch.tensor([0.003 / 1.002, 0.75, 1.0]))
    torch.testing.assert_close(process.received(timesteps), 1000 * sigma)


@pytest.mark.parametrize(
    "given", [{"shift": 0.0}, {"shift": float("inf")}, {"shift": 101.0}, {"steps": 0}, {"spacing": "even"}]
)
def test_values_out_of_range_are_refused(given):
    with pytest.raises(UserError, match=next(iter(given))):
        FlowMatching(**given)


def test_min_snr_weights_are_those_of_the_clean_estimate():
    flow, timesteps = FlowMatching(), torch.arange(0, 1000, 7)
    alpha, sigma = flow.alpha_sigma(timesteps, dtype=torch.float64)
    ratio = (alpha / sigma).square().clamp(max=5.0) * sigma.square()
    torch.testing.assert_close(min_snr_weights(timesteps, flow, gamma=5.0), ratio.flatten().float())


def test_the_sampler_sat_needs_its_own_process():
    draw = lambda: torch.zeros(SHAPE)  # noqa: E731
    with pytest.raises(UserError, match="sampler: sat needs the noise schedule of v-prediction"):
        run("sat", lambda latents, timestep, fraction: latents, schedule=FlowMatching(), steps=2, draw=draw)


def test_whole_timesteps_are_those_of_diffusers_at_every_number_of_steps():
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 5.0}
    for spacing, kind in {"unipc": UniPCMultistepScheduler, "dpmpp": DPMSolverMultistepScheduler}.items():
        theirs, process = kind(**flow), FlowMatching(shift=5.0, spacing=spacing)
        for steps in range(1, 101):
            theirs.set_timesteps(steps)
            assert [level.timestep for level in process.spaced(steps)] == theirs.timesteps.tolist()
