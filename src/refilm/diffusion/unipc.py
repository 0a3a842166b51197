"""UniPC, a predictor and a corrector of second order that share the model's runs (Zhao et al. 2023, arXiv:2302.04867).

Letters: lambda is half the logarithm of the signal-to-noise ratio of a level; h its growth over a step.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.guidance import Predict
from refilm.diffusion.process import CLEAN, Level, Process
from refilm.diffusion.samplers import Draw, SamplerStep, remaining, sampling_precision


class _Estimate(NamedTuple):
    """The model's estimate of the clean latents, and the level at which it ran."""

    clean: Tensor
    level: Level


@checked
@torch.no_grad()
def unipc(
    predict: Predict,
    start: Tensor,
    *,
    schedule: Process,
    levels: Sequence[Level],
    draw: Draw | None = None,
    after: SamplerStep | None = None,
) -> Iterator[SamplerStep]:
    """UniPC-2 on the clean estimate with B(h) = e^h - 1 (there: `bh2`): deterministic, `draw` is never called.

    Every step but the first corrects the latents with the estimate made from them, then goes on to the next level. The
    first and the last step are of first order. Equals diffusers' `UniPCMultistepScheduler` of solver order 2.
    """
    latents = before = sampling_precision(start)
    past: list[_Estimate] = []
    if after is not None:
        before, *older = after.earlier
        estimates = zip([after.clean, *older], levels[after.index :: -1], strict=False)
        past = [_Estimate(clean, level) for clean, level in estimates]
    for index, level in remaining(levels, after):
        velocity = predict(latents, level.timestep, index / len(levels))
        now = _Estimate(schedule.clean(latents, velocity, level), level)
        if past:
            latents = corrected(before, past, now)
        past = [now, *past[:1]]
        following = CLEAN if index == len(levels) - 1 else levels[index + 1]
        before, latents = latents, predicted(latents, past, following)
        earlier = before, *(one.clean for one in past[1:])
        yield SamplerStep(index, len(levels), level.timestep, latents, now.clean, earlier)


def predicted(latents: Tensor, past: Sequence[_Estimate], following: Level) -> Tensor:
    """UniP (algorithm 2): latents at the level of the newest estimate, which comes first -> at the following level."""
    newest, *older = past
    h = following.log_snr - newest.level.log_snr
    step = _first_order(latents, newest, following)
    if not older or not following.sigma:
        return step
    r = (older[0].level.log_snr - newest.level.log_snr) / h
    return step + following.alpha * -math.expm1(-h) * 0.5 * (older[0].clean - newest.clean) / r


def corrected(before: Tensor, past: Sequence[_Estimate], now: _Estimate) -> Tensor:
    """UniC (algorithm 1): the step from `before`, at the level of the newest past estimate, done again with `now`."""
    newest, *older = past
    h = now.level.log_snr - newest.level.log_snr
    step, change = _first_order(before, newest, now.level), -math.expm1(-h) * now.level.alpha
    if not older:
        return step + change * 0.5 * (now.clean - newest.clean)
    r = (older[0].level.log_snr - newest.level.log_snr) / h
    first, second = _moments(h)
    of_older = (first - second) / (1 - r)
    return step + change * (
        of_older * (older[0].clean - newest.clean) / r + (first - of_older) * (now.clean - newest.clean)
    )


def _first_order(latents: Tensor, estimate: _Estimate, following: Level) -> Tensor:
    """The exact solution where the estimate does not change over the step."""
    h = following.log_snr - estimate.level.log_snr
    return following.sigma / estimate.level.sigma * latents - following.alpha * math.expm1(-h) * estimate.clean


def _moments(h: float) -> tuple[float, float]:
    """h phi_2(-h) / B and 2 h^2 phi_3(-h) / B, with B = e^-h - 1: the right side of the corrector's two equations."""
    factor = math.expm1(-h)
    phi = factor / -h - 1
    return phi / factor, 2 * (phi / -h - 0.5) / factor
