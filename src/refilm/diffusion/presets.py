"""Whole runs by name: a sampler at its own timesteps, its course of guidance, and what that leads away from.

Knows models as functions of plain tensors: whatever takes (latents, timesteps, text, reference) can be run.
"""

from collections.abc import Callable, Iterator

import torch

from refilm.arguments import checked
from refilm.diffusion.guidance import Condition, GuidanceScale, Model, Predict, by_timestep, constant, guided, rising
from refilm.diffusion.samplers import SAMPLERS, Draw, SamplerStep
from refilm.diffusion.sat import sat
from refilm.diffusion.schedule import Schedule
from refilm.model import require_finite

GUIDANCE_SCHEDULES: dict[str, Callable[[float, int], GuidanceScale]] = {
    "constant": lambda scale, steps: constant(scale),
    "rising": lambda scale, steps: rising(scale),
    "by-timestep": lambda scale, steps: by_timestep(steps, scale),
}
"""Courses of guidance by the names that settings use: (scale, steps of the run) -> guidance."""


@checked
def denoise(
    sampler: str,
    model: Model,
    condition: Condition,
    *,
    schedule: Schedule,
    steps: int,
    draw: Draw,
    guidance: float | GuidanceScale = 6.0,
    unconditional: Condition | None = None,
) -> Iterator[SamplerStep]:
    """Sample from a model with all that a sampler's name stands for.

    `sat` is the original research code as a whole: its sampler, its guidance by the timestep, and zeros for text and
    reference in its unconditional branch. There the reference must be projected already, as the model then takes it
    (`load_denoiser(...)` with `projected=True`, for instance), for zeros are put in the place of the projected one.

    Args:
        sampler: one of `SAMPLERS`, or `sat`.
        model: (latents, timesteps, text, reference) -> velocity.
        condition: the text's embedding and the reference.
        schedule: what the model was trained with.
        steps: how many steps to take.
        draw: the noise; the first that is drawn is the start.
        guidance: its scale, which stays the same, and with `sat` goes by the timestep; or a course of another kind.
        unconditional: what guidance leads away from; none: `nothing`.

    Raises:
        ValueError: an unknown sampler, or more steps than the schedule has.
    """
    if isinstance(guidance, float | int):
        guidance = by_timestep(steps, guidance) if sampler == "sat" else constant(guidance)
    unconditional = unconditional or nothing(sampler, condition)
    predict = guided(model, condition, unconditional=unconditional, guidance=guidance)
    return run(sampler, predict, schedule=schedule, steps=steps, draw=draw)


@checked
def nothing(sampler: str, condition: Condition) -> Condition:
    """No prompt and no image: zeros as the text's embedding, as in training, and no reference.

    With `sat` zeros as the projected reference, as the original has it. That is not the same as none: the reference
    attention still runs and adds a constant, which no training has ever shown to the model.
    """
    text, reference = torch.zeros_like(condition.text), condition.reference
    return Condition(text, None if reference is None or sampler != "sat" else torch.zeros_like(reference))


@checked
def run(sampler: str, predict: Predict, *, schedule: Schedule, steps: int, draw: Draw) -> Iterator[SamplerStep]:
    """Sample with the sampler of that name, from noise, at its own timesteps.

    Args:
        sampler: one of `SAMPLERS`, or `sat`, the original research code's.
        predict: the guided velocity.
        schedule: what the model was trained with.
        steps: how many steps to take.
        draw: the noise; the first that is drawn is the start.

    Raises:
        ValueError: an unknown sampler, or more steps than the schedule has.
        FloatingPointError: during the run: latents that are not finite; says after which step.
    """
    if sampler == "sat":
        return _finite(sat(predict, draw(), schedule=schedule, steps=steps, draw=draw))
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: must be {', '.join(SAMPLERS)} or sat (received {sampler!r})")
    return _finite(SAMPLERS[sampler](predict, draw(), schedule=schedule, timesteps=schedule.spaced(steps), draw=draw))


def _finite(steps: Iterator[SamplerStep]) -> Iterator[SamplerStep]:
    for step in steps:
        require_finite(step.latents, maker=f"the transformer, at step {step.index + 1} of {step.steps},")
        yield step
