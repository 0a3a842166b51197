"""The sampler of the SAT fork with reference cross-attention, including its quirks; for comparison only.

Differences from `samplers.dpmpp_2m_sde`:
- The zero-SNR rescale is applied to the sampled timesteps instead of all 1000, so the noise levels of a run differ from
  those of training.
- The denoiser then uses the nearest level in the training table, a few timesteps off, while the model receives the
  nominal timestep.
- Timesteps are truncated from 999 down instead of rounded from 1000: they differ if the number of steps does not divide
  1000.
- Every second-order step samples noise twice and discards the first sample.
Its guidance is `guidance.by_timestep(steps, 6.0)`. Its unconditional branch has zeros for the text's embedding and for
the image's tokens *after* their projection: there the reference attention still runs and adds a constant, which
differs from no reference.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.guidance import Predict
from refilm.diffusion.process import CLEAN, Level
from refilm.diffusion.samplers import Draw, SamplerStep, dpmpp_2m_sde_step, remaining
from refilm.diffusion.schedule import Schedule, rescale_zero_terminal_snr
from refilm.errors import UserError


@checked
@torch.no_grad()
def sat(
    predict: Predict, start: Tensor, *, schedule: Schedule, steps: int, draw: Draw, after: SamplerStep | None = None
) -> Iterator[SamplerStep]:
    """DPM-Solver++(2M) SDE (Lu et al. 2022, arXiv:2211.01095) as SAT runs it.

    Args:
        predict: returns the guided velocity.
        start: noise, (B, T, C, H, W) float32.
        schedule: the noise schedule of training.
        steps: number of steps, at least 2 and fewer than the training timesteps.
        draw: called once at the first step, not at the last, and twice at every step between.
        after: a step of the same run, to run only the steps that follow it; `start` is its latents.

    Raises:
        UserError: `steps` out of range.
    """
    levels = sat_levels(steps, schedule)
    latents, older = start, None if after is None else after.clean
    for index, level in remaining(levels, after):
        velocity = predict(latents, level.timestep, index / steps)
        clean = schedule.clean(latents, velocity, nearest(schedule, level.alpha))
        if 0 < index < steps - 1:
            draw()
        latents = dpmpp_2m_sde_step(latents, clean, older, index=index, levels=[*levels, CLEAN], draw=draw)
        older = clean
        yield SamplerStep(index, steps, level.timestep, latents, clean)


def sat_timesteps(steps: int, *, trained: int = 1000) -> tuple[int, ...]:
    """The timesteps at which SAT runs the model, noise first.

    Raises:
        UserError: `steps` is not between 2 and `trained` - 1; SAT fails there too.
    """
    last = trained - 1
    if not 2 <= steps <= last:
        raise UserError(f"steps: must be from 2 to {last} with the sampler sat (received {steps})")
    return tuple(int(last - index * (last / steps)) for index in range(steps))


def sat_levels(steps: int, schedule: Schedule) -> list[Level]:
    """The levels of a run; the zero-SNR rescale is applied to the sampled timesteps only."""
    table = schedule.alphas_cumprod if schedule.before_rescale is None else schedule.before_rescale
    timesteps = sat_timesteps(steps, trained=schedule.steps)
    sampled = rescale_zero_terminal_snr(table[list(reversed(timesteps))]).flip(0)
    return list(map(Level, timesteps, sampled.sqrt().tolist(), (1 - sampled).sqrt().tolist()))


def nearest(schedule: Schedule, alpha: float) -> int:
    """The timestep with the closest alpha."""
    return int((schedule.alphas_cumprod.sqrt() - alpha).abs().argmin())
