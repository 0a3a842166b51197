"""Another process than that of v-prediction in the same samplers, loss and guidance: flow matching, in a few lines."""

import pytest
import torch
from torch import Tensor

from refilm.diffusion import Condition, Process, denoise, gaussian, min_snr_weights, scaled_linear, velocity_loss
from refilm.errors import UserError

SHAPE = (2, 3, 4, 2, 2)


class Flow:
    """Straight lines from clean latents to noise (Lipman et al. 2023), at `steps` even levels."""

    def __init__(self, steps: int = 100):
        self.steps = steps

    def alpha_sigma(self, timesteps: Tensor | int, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        sigma = ((torch.as_tensor(timesteps).view(-1, 1, 1, 1, 1) + 1) / self.steps).to(dtype)
        return 1 - sigma, sigma

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor | int) -> Tensor:
        alpha, sigma = self.alpha_sigma(timesteps)
        return alpha * clean + sigma * noise

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Tensor | int) -> Tensor:
        return noise - clean

    def clean(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor | int) -> Tensor:
        return noisy - self.alpha_sigma(timesteps)[1] * velocity

    def noise(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor | int) -> Tensor:
        return noisy + self.alpha_sigma(timesteps)[0] * velocity

    def spaced(self, steps: int) -> tuple[int, ...]:
        return tuple(self.steps - 1 - index * self.steps // steps for index in range(steps))


def sampled(sampler: str, velocity, steps: int = 10) -> list[Tensor]:
    draw = gaussian(SHAPE, torch.Generator().manual_seed(0))
    condition = Condition(torch.zeros(2, 1, 1))
    model = lambda latents, timesteps, text, references, *, rows: velocity(latents, timesteps)  # noqa: E731
    steps_of = denoise(sampler, model, condition, schedule=Flow(), steps=steps, draw=draw, guidance=1)
    return [step.latents for step in steps_of]


@pytest.mark.parametrize("process", [Flow(), scaled_linear(snr_shift=1.0)])
def test_both_are_processes_whose_parts_agree(process):
    assert isinstance(process, Process)
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    timesteps = torch.tensor([7, 60])
    noisy, velocity = process.add_noise(clean, noise, timesteps), process.velocity(clean, noise, timesteps)
    torch.testing.assert_close(process.clean(noisy, velocity, timesteps), clean, rtol=0, atol=1e-5)
    torch.testing.assert_close(process.noise(noisy, velocity, timesteps), noise, rtol=0, atol=1e-5)
    loss = velocity_loss(velocity, clean, noise=noise, timesteps=timesteps, schedule=process)
    torch.testing.assert_close(loss, torch.zeros(2), rtol=0, atol=1e-10)


def test_ddim_takes_the_steps_of_euler():
    """For any model: x + (next sigma - sigma) velocity."""
    seen = sampled("ddim", lambda latents, timesteps: torch.tanh(latents))
    latents = gaussian(SHAPE, torch.Generator().manual_seed(0))()
    sigmas = [1 - index / 10 for index in range(11)]
    for index, found in enumerate(seen):
        latents = latents + (sigmas[index + 1] - sigmas[index]) * torch.tanh(latents)
        torch.testing.assert_close(found, latents, rtol=1e-4, atol=1e-5)


def test_min_snr_weights_are_those_of_the_clean_estimate():
    alpha, sigma = Flow().alpha_sigma(torch.arange(100), dtype=torch.float64)
    ratio = (alpha / sigma).square().clamp(max=5.0) * sigma.square()
    torch.testing.assert_close(min_snr_weights(torch.arange(100), Flow(), gamma=5.0), ratio.flatten().float())


def test_the_sampler_sat_needs_its_own_process():
    with pytest.raises(UserError, match="sampler: sat needs the noise schedule of v-prediction"):
        sampled("sat", lambda latents, timesteps: latents)
