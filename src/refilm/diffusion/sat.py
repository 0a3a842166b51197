"""The sampler of the original research code (SAT), quirks included: for comparing with it, not for making films.

Where it departs from `samplers.dpmpp_2m_sde`:
- The zero-SNR rescale is done on the sampled timesteps alone instead of on all 1000, so the levels of a run are not
  those that the model was trained at.
- The denoiser then looks for the nearest level in the training's table and mixes with that one, a few timesteps off,
  while the model is told the nominal timestep.
- Timesteps are cut from 999 down instead of rounded from 1000: others where the number of steps does not divide 1000.
- Every step of second order draws noise twice and throws the first away.
Its guidance is `guidance.by_timestep(steps, 6.0)`, and its unconditional branch has zeros for text and reference.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from refilm.diffusion.guidance import Predict
from refilm.diffusion.samplers import Draw, Levels, SamplerStep, dpmpp_2m_sde_step
from refilm.diffusion.schedule import Schedule, rescale_zero_terminal_snr, scaled_linear


@torch.no_grad()
def sat(predict: Predict, start: Tensor, *, steps: int, draw: Draw, snr_shift: float = 3.0) -> Iterator[SamplerStep]:
    """DPM-Solver++(2M) SDE (Lu et al. 2022, arXiv:2211.01095) as the original research code runs it.

    Args:
        predict: the guided velocity.
        start: noise, (B, T, C, H, W) float32.
        steps: how many steps to take, 2 to 999.
        draw: asked twice at every step but the first and the last.
        snr_shift: the model's.

    Raises:
        ValueError: `steps` out of range.
    """
    timesteps = sat_timesteps(steps)
    trained = scaled_linear(snr_shift=snr_shift)
    levels = sat_levels(steps, snr_shift=snr_shift)
    latents, older = start, None
    for index, timestep in enumerate(timesteps):
        velocity = predict(latents, timestep, index / steps)
        clean = trained.clean(latents, velocity, nearest(trained, levels[index][0]))
        if 0 < index < steps - 1:
            draw()
        latents = dpmpp_2m_sde_step(latents, clean, older, index=index, levels=levels, draw=draw)
        older = clean
        yield SamplerStep(index, steps, timestep, latents, clean)


def sat_timesteps(steps: int) -> tuple[int, ...]:
    """The timesteps that the original asks the model at, noise first.

    Raises:
        ValueError: `steps` is not from 2 to 999; the original fails there too.
    """
    if not 2 <= steps <= 999:
        raise ValueError(f"steps: must be from 2 to 999 (received {steps})")
    return tuple(int(999 - index * (999 / steps)) for index in range(steps))


def sat_levels(steps: int, *, snr_shift: float = 3.0) -> Levels:
    """(alpha, sigma) at each step and after the last: the rescale to zero SNR sees the sampled timesteps alone."""
    shifted = scaled_linear(snr_shift=snr_shift, zero_terminal_snr=False).alphas_cumprod
    sampled = rescale_zero_terminal_snr(shifted[list(reversed(sat_timesteps(steps)))]).flip(0)
    return [*zip(sampled.sqrt().tolist(), (1 - sampled).sqrt().tolist(), strict=True), (1.0, 0.0)]


def nearest(schedule: Schedule, alpha: float) -> int:
    """The timestep whose alpha is closest."""
    return int((schedule.alphas_cumprod.sqrt() - alpha).abs().argmin())
