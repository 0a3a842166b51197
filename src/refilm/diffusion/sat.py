"""The sampler of the original research code (SAT), quirks included: for comparing with it, not for making videos.

Where it departs from `samplers.dpmpp_2m_sde`:
- The zero-SNR rescale is done on the sampled timesteps alone instead of on all 1000, so the levels of a run are not
  those that the model was trained at.
- The denoiser then looks for the nearest level in the training's table and mixes with that one, a few timesteps off,
  while the model is told the nominal timestep.
- Timesteps are cut from 999 down instead of rounded from 1000: others where the number of steps does not divide 1000.
- Every step of second order draws noise twice and throws the first away.
Its guidance is `guidance.by_timestep(steps, 6.0)`. Its unconditional branch has zeros for the text's embedding and for
the image's tokens *after* their projection: there the reference attention still runs and adds a constant, which is
not the same as no reference.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.guidance import Predict
from refilm.diffusion.samplers import Draw, Levels, SamplerStep, dpmpp_2m_sde_step
from refilm.diffusion.schedule import Schedule, rescale_zero_terminal_snr


@checked
@torch.no_grad()
def sat(predict: Predict, start: Tensor, *, schedule: Schedule, steps: int, draw: Draw) -> Iterator[SamplerStep]:
    """DPM-Solver++(2M) SDE (Lu et al. 2022, arXiv:2211.01095) as the original research code runs it.

    Args:
        predict: the guided velocity.
        start: noise, (B, T, C, H, W) float32.
        schedule: what the model was trained with.
        steps: how many steps to take, at least 2 and fewer than the schedule has.
        draw: asked once at the first step, never at the last, twice at those between.

    Raises:
        ValueError: `steps` out of range.
    """
    timesteps = sat_timesteps(steps, trained=schedule.steps)
    levels = sat_levels(steps, schedule)
    latents, older = start, None
    for index, timestep in enumerate(timesteps):
        velocity = predict(latents, timestep, index / steps)
        clean = schedule.clean(latents, velocity, nearest(schedule, levels[index][0]))
        if 0 < index < steps - 1:
            draw()
        latents = dpmpp_2m_sde_step(latents, clean, older, index=index, levels=levels, draw=draw)
        older = clean
        yield SamplerStep(index, steps, timestep, latents, clean)


def sat_timesteps(steps: int, *, trained: int = 1000) -> tuple[int, ...]:
    """The timesteps that the original asks the model at, noise first.

    Raises:
        ValueError: `steps` is not from 2 to one less than the model was `trained` on; the original fails there too.
    """
    last = trained - 1
    if not 2 <= steps <= last:
        raise ValueError(f"steps: must be from 2 to {last} with the sampler sat (received {steps})")
    return tuple(int(last - index * (last / steps)) for index in range(steps))


def sat_levels(steps: int, schedule: Schedule) -> Levels:
    """(alpha, sigma) at each step and after the last: the rescale to zero SNR sees the sampled timesteps alone."""
    table = schedule.alphas_cumprod if schedule.before_rescale is None else schedule.before_rescale
    timesteps = sat_timesteps(steps, trained=schedule.steps)
    sampled = rescale_zero_terminal_snr(table[list(reversed(timesteps))]).flip(0)
    return [*zip(sampled.sqrt().tolist(), (1 - sampled).sqrt().tolist(), strict=True), (1.0, 0.0)]


def nearest(schedule: Schedule, alpha: float) -> int:
    """The timestep whose alpha is closest."""
    return int((schedule.alphas_cumprod.sqrt() - alpha).abs().argmin())
