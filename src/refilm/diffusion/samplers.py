"""Samplers: from noise to clean latents, one step at a time.

A sampler is a generator function: it yields after every step, and the caller owns progress, previews and
cancellation. It knows the schedule and asks a `Predict` for velocities; of models and guidance it knows nothing.
Randomness comes through `draw` alone, so a run can be repeated or fed with given noise.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.guidance import Predict
from refilm.diffusion.schedule import Schedule

Draw = Callable[[], Tensor]
"""Fresh noise of unit variance, shaped like the latents."""

Levels = Sequence[tuple[float, float]]
"""(alpha, sigma) at each step of a run, noise first, and after its last step: (1, 0)."""


@dataclass(frozen=True, eq=False)
class SamplerStep:
    """Where a run stands after a step."""

    index: int
    """Which step was done, from 0."""
    steps: int
    """How many there are."""
    timestep: int
    """The timestep at which the model was asked."""
    latents: Tensor
    """The latents after the step, (B, T, C, H, W); after the last step the video."""
    clean: Tensor
    """What the video looked like to the model before the step: a preview, (B, T, C, H, W)."""


class Sampler(Protocol):
    """Goes through `timesteps` (noise first, see `Schedule.spaced`) from `start`, which it leaves as it is."""

    def __call__(
        self, predict: Predict, start: Tensor, *, schedule: Schedule, timesteps: Sequence[int], draw: Draw
    ) -> Iterator[SamplerStep]: ...


@checked
def gaussian(
    shape: Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Draw:
    """Noise of one shape from a seed, for the start of a run and for its steps.

    Drawn in float32 where the generator lives, then moved: a generator on the CPU gives the same noise on any device.

    Args:
        shape: (B, T, C, H, W).
        generator: one for all samples, or one a sample, so that a video does not depend on those beside it.
        device: where the noise is needed.
        dtype: what it is cast to.

    Raises:
        ValueError: not as many generators as samples.
    """
    if isinstance(generator, torch.Generator):
        return lambda: torch.randn(*shape, generator=generator, device=generator.device).to(device, dtype)
    each = list(generator)
    if len(each) != shape[0]:
        raise ValueError(f"generator: give one, or one a sample ({shape[0]}; received {len(each)})")
    draw_each = [gaussian(shape[1:], one, device=device, dtype=dtype) for one in each]
    return lambda: torch.stack([draw() for draw in draw_each])


@checked
@torch.no_grad()
def dpmpp_2m_sde(
    predict: Predict, start: Tensor, *, schedule: Schedule, timesteps: Sequence[int], draw: Draw
) -> Iterator[SamplerStep]:
    """DPM-Solver++(2M) SDE on the variance-preserving process (Lu et al. 2022, arXiv:2211.01095, SDE-DPM-Solver++(2M)).

    Second order, with new noise at every step but the last. The first and the last step are of first order. Equals
    diffusers' `CogVideoXDPMScheduler` where the number of steps divides the schedule's; where it does not, diffusers
    steps to timesteps other than those it asks the model at next.
    """
    latents, older = _sampling_precision(start), None
    levels = _levels(schedule, timesteps)
    for index, timestep in enumerate(timesteps):
        velocity = predict(latents, timestep, index / len(timesteps))
        clean = schedule.clean(latents, velocity, timestep)
        latents = dpmpp_2m_sde_step(latents, clean, older, index=index, levels=levels, draw=draw)
        older = clean
        yield SamplerStep(index, len(timesteps), timestep, latents, clean)


def dpmpp_2m_sde_step(
    latents: Tensor, clean: Tensor, older: Tensor | None, *, index: int, levels: Levels, draw: Draw
) -> Tensor:
    """One step of DPM-Solver++(2M) SDE, from `levels[index]` to the next. Draws once, and not if it ends clean.

    Args:
        latents: at `levels[index]`.
        clean: the model's estimate for them.
        older: its estimate at the step before, if there was one.
        index: which step this is.
        levels: those of the whole run.
        draw: where the new noise comes from.
    """
    (_, sigma), (next_alpha, next_sigma) = levels[index : index + 2]
    if next_sigma == 0:
        return clean
    h = _log_snr(*levels[index + 1]) - _log_snr(*levels[index])  # infinite from pure noise
    direction = clean
    if older is not None:
        r = (_log_snr(*levels[index]) - _log_snr(*levels[index - 1])) / h
        direction = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * older
    fresh = -math.expm1(-2 * h)  # the share of the noise's variance that is drawn anew
    kept = next_sigma / sigma * math.exp(-h)
    return kept * latents + next_alpha * fresh * direction + next_sigma * math.sqrt(fresh) * draw()


@checked
@torch.no_grad()
def ddim(
    predict: Predict, start: Tensor, *, schedule: Schedule, timesteps: Sequence[int], draw: Draw | None = None
) -> Iterator[SamplerStep]:
    """DDIM with eta 0 (Song et al. 2021, arXiv:2010.02502, eq. 12): deterministic, `draw` is never asked.

    Equals diffusers' `CogVideoXDDIMScheduler` where the number of steps divides the schedule's.
    """
    latents = _sampling_precision(start)
    levels = _levels(schedule, timesteps)
    for index, timestep in enumerate(timesteps):
        (alpha, sigma), (next_alpha, next_sigma) = levels[index : index + 2]
        velocity = predict(latents, timestep, index / len(timesteps))
        clean = schedule.clean(latents, velocity, timestep)
        kept = next_sigma / sigma
        latents = kept * latents + (next_alpha - alpha * kept) * clean
        yield SamplerStep(index, len(timesteps), timestep, latents, clean)


SAMPLERS: dict[str, Sampler] = {"dpmpp-2m-sde": dpmpp_2m_sde, "ddim": ddim}
"""Samplers by the names that settings use."""


def _levels(schedule: Schedule, timesteps: Sequence[int]) -> Levels:
    alphas, sigmas = schedule.alpha_sigma(torch.tensor(timesteps), dtype=torch.float64)
    return [*zip(alphas.flatten().tolist(), sigmas.flatten().tolist(), strict=True), (1.0, 0.0)]


def _log_snr(alpha: float, sigma: float) -> float:
    """Half the logarithm of the signal-to-noise ratio."""
    return math.log(alpha / sigma) if alpha > 0 else -math.inf


def _sampling_precision(latents: Tensor) -> Tensor:
    """Steps are summed in float32 at least: half precision would lose the small ones at the end of a run."""
    return latents.to(torch.promote_types(latents.dtype, torch.float32))
