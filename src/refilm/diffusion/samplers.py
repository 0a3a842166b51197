"""Samplers: from noise to clean latents, one step at a time.

A sampler is a generator function: it yields after every step, and the caller owns progress, previews and
cancellation. A step contains all that the next ones need, so a run can be continued after any of them. A sampler uses a
schedule and a `Predict` that returns velocities; it is independent of models and guidance. All randomness comes from
`draw`, so a run can be repeated or use given noise.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.guidance import Predict
from refilm.diffusion.process import CLEAN, Level, Process
from refilm.errors import UserError

Draw = Callable[[], Tensor]
"""Returns a new sample of unit-variance noise with the shape of the latents."""


@dataclass(frozen=True, eq=False)
class SamplerStep:
    """The state of a run after a step."""

    index: int
    """Index of the step, from 0."""
    steps: int
    """Number of steps of the run."""
    timestep: float
    """The timestep at which the model ran."""
    latents: Tensor
    """The latents after the step, (B, T, C, H, W); after the last step they are clean."""
    clean: Tensor
    """The model's estimate of the clean latents, usable as a preview, (B, T, C, H, W)."""
    earlier: tuple[Tensor, ...] = ()
    """Tensors of the steps before that the sampler needs to go on, each (B, T, C, H, W)."""


def remaining(levels: Sequence[Level], after: SamplerStep | None) -> Iterator[tuple[int, Level]]:
    """The levels of the steps that are still to be done, with their indices."""
    first = 0 if after is None else after.index + 1
    return islice(enumerate(levels), first, None)


class Sampler(Protocol):
    """Runs over `levels` (noise first, see `Process.spaced`) from `start`, which it does not modify.

    With `after`, a step of the same run, `start` is its latents, and the steps that follow it are run.
    """

    def __call__(
        self,
        predict: Predict,
        start: Tensor,
        *,
        schedule: Process,
        levels: Sequence[Level],
        draw: Draw,
        after: SamplerStep | None = None,
    ) -> Iterator[SamplerStep]: ...


@checked
def gaussian(
    shape: Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Draw:
    """Return a noise function for the start of a run and for its steps.

    Noise is sampled in float32 on the generator's device, then moved: a CPU generator gives the same noise everywhere.

    Args:
        shape: (B, T, C, H, W).
        generator: one for all samples, or one per sample, so that a video does not depend on the rest of the batch.
        device: device of the returned noise.
        dtype: dtype of the returned noise.

    Raises:
        UserError: the number of generators differs from the number of samples.
    """
    if isinstance(generator, torch.Generator):
        return partial(_sample, tuple(shape), generator, torch.device(device), dtype)
    each = list(generator)
    if len(each) != shape[0]:
        raise UserError(f"generator: give one, or one per sample ({shape[0]}; received {len(each)})")
    draw_each = [gaussian(shape[1:], one, device=device, dtype=dtype) for one in each]
    return lambda: torch.stack([draw() for draw in draw_each])


def _sample(shape: tuple[int, ...], generator: torch.Generator, device: torch.device, dtype: torch.dtype) -> Tensor:
    # a copy from pinned memory does not wait for the device
    pinned = generator.device.type == "cpu" and device.type == "cuda"
    noise = torch.randn(*shape, generator=generator, device=generator.device, pin_memory=pinned)
    return noise.to(device, dtype, non_blocking=pinned)


@checked
@torch.no_grad()
def dpmpp_2m_sde(
    predict: Predict,
    start: Tensor,
    *,
    schedule: Process,
    levels: Sequence[Level],
    draw: Draw,
    after: SamplerStep | None = None,
) -> Iterator[SamplerStep]:
    """DPM-Solver++(2M) SDE (Lu et al. 2022, arXiv:2211.01095, SDE-DPM-Solver++(2M)).

    Second order, with new noise at every step but the last. The first and the last step are of first order. Equals
    diffusers' `CogVideoXDPMScheduler` if the number of steps divides the number of training timesteps; otherwise
    diffusers steps to timesteps other than those at which it runs the model next.
    """
    latents, older = sampling_precision(start), None if after is None else after.clean
    for index, level in remaining(levels, after):
        velocity = predict(latents, level.timestep, index / len(levels))
        clean = schedule.clean(latents, velocity, level)
        latents = dpmpp_2m_sde_step(latents, clean, older, index=index, levels=[*levels, CLEAN], draw=draw)
        older = clean
        yield SamplerStep(index, len(levels), level.timestep, latents, clean)


def dpmpp_2m_sde_step(
    latents: Tensor, clean: Tensor, older: Tensor | None, *, index: int, levels: Sequence[Level], draw: Draw
) -> Tensor:
    """One step of DPM-Solver++(2M) SDE, from `levels[index]` to the next. Calls `draw` once, or not at the last level.

    Args:
        latents: at `levels[index]`.
        clean: the model's estimate for them.
        older: its estimate at the previous step, if any.
        index: index of this step.
        levels: the levels of the whole run and its end.
        draw: returns new noise.
    """
    level, (_, next_alpha, next_sigma) = levels[index], levels[index + 1]
    if next_sigma == 0:
        return clean
    h = levels[index + 1].log_snr - level.log_snr  # infinite from pure noise
    direction = clean
    if older is not None:
        r = (level.log_snr - levels[index - 1].log_snr) / h
        direction = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * older
    fresh = -math.expm1(-2 * h)  # fraction of the noise variance that is replaced by new noise
    kept = next_sigma / level.sigma * math.exp(-h)
    return kept * latents + next_alpha * fresh * direction + next_sigma * math.sqrt(fresh) * draw()


@checked
@torch.no_grad()
def ddim(
    predict: Predict,
    start: Tensor,
    *,
    schedule: Process,
    levels: Sequence[Level],
    draw: Draw | None = None,
    after: SamplerStep | None = None,
) -> Iterator[SamplerStep]:
    """DDIM with eta 0 (Song et al. 2021, arXiv:2010.02502, eq. 12): deterministic, `draw` is never called.

    Equals diffusers' `CogVideoXDDIMScheduler` if the number of steps divides the number of training timesteps. In flow
    matching it is Euler's method.
    """
    latents = sampling_precision(start)
    for index, level in remaining(levels, after):
        following = [*levels, CLEAN][index + 1]
        velocity = predict(latents, level.timestep, index / len(levels))
        clean = schedule.clean(latents, velocity, level)
        kept = following.sigma / level.sigma
        latents = kept * latents + (following.alpha - level.alpha * kept) * clean
        yield SamplerStep(index, len(levels), level.timestep, latents, clean)


def sampling_precision(latents: Tensor) -> Tensor:
    """Sampling runs in float32 or higher: half precision would lose the small steps at the end of a run."""
    return latents.to(torch.promote_types(latents.dtype, torch.float32))
