"""Complete sampling runs by name: a sampler with its timesteps, guidance schedule and null condition.

A model is any function (latents, timesteps, text, references), see `guidance.Model`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.guidance import Condition, GuidanceScale, Model, Predict, by_timestep, constant, guided, rising
from refilm.diffusion.process import Process
from refilm.diffusion.samplers import Draw, Sampler, SamplerStep, ddim, dpmpp_2m_sde
from refilm.diffusion.sat import sat
from refilm.diffusion.schedule import Schedule
from refilm.diffusion.unipc import unipc
from refilm.errors import UserError
from refilm.model import FiniteCheck

SAMPLERS: dict[str, Sampler] = {
    "dpmpp-2m-sde": dpmpp_2m_sde,
    "ddim": ddim,
    "euler": ddim,
    "unipc": unipc,
}
"""Samplers by the names used in settings. Euler's method in flow matching is DDIM."""

GUIDANCE_SCHEDULES: dict[str, Callable[[float, int], GuidanceScale]] = {
    "constant": lambda scale, steps: constant(scale),
    "rising": lambda scale, steps: rising(scale),
    "by-timestep": lambda scale, steps: by_timestep(steps, scale),
}
"""Guidance schedules by the names used in settings: (scale, steps of the run) -> guidance."""


@checked
def denoise(
    sampler: str,
    model: Model,
    condition: Condition,
    *,
    schedule: Process,
    steps: int,
    draw: Draw,
    guidance: float | GuidanceScale = 6.0,
    unconditional: Condition | None = None,
) -> Iterator[SamplerStep]:
    """Sample from a model with the complete preset of a sampler.

    `sat` reproduces the SAT fork with reference cross-attention: its sampler, its guidance by the timestep, and zeros
    for text and reference in its unconditional branch.

    Args:
        sampler: one of `SAMPLERS`, or `sat`.
        model: (latents, timesteps, text, references) -> velocity.
        condition: the text's embedding and the references.
        schedule: the noise schedule of training.
        steps: number of steps.
        draw: returns noise; the first sample is the start of the run.
        guidance: a constant scale (with `sat`, a scale by the timestep), or a guidance schedule.
        unconditional: the condition that guidance moves away from. Default: `null_condition`.

    Raises:
        UserError: an unknown sampler, or more steps than the schedule has.
    """
    if isinstance(guidance, float | int):
        guidance = by_timestep(steps, guidance) if sampler == "sat" else constant(guidance)
    unconditional = unconditional or null_condition(sampler, condition)
    predict = guided(model, condition, unconditional=unconditional, guidance=guidance)
    return run(sampler, predict, schedule=schedule, steps=steps, draw=draw)


@checked
def null_condition(sampler: str, condition: Condition, *, text: Tensor | None = None) -> Condition:
    """The condition without prompt and image: the null prompt `text`, by default zeros, and no reference.

    With `sat` the projected reference is zeros, as in SAT. This differs from no reference: the reference attention
    still runs and adds a constant that the model never saw in training.
    """
    text = torch.zeros_like(condition.text) if text is None else text
    references = condition.references
    if references is None or sampler != "sat":
        return Condition(text)
    zeros = replace(references, tokens=torch.zeros_like(references.tokens), keys_values=None)
    return replace(condition, text=text, references=zeros)


@checked
def run(
    sampler: str, predict: Predict, *, schedule: Process, steps: int, draw: Draw, after: SamplerStep | None = None
) -> Iterator[SamplerStep]:
    """Sample from noise with the named sampler at its own timesteps.

    Args:
        sampler: one of `SAMPLERS`, or `sat`.
        predict: returns the guided velocity.
        schedule: the noise schedule of training.
        steps: number of steps.
        draw: returns noise; the first sample is the start of the run.
        after: a step of the same run, to run only the steps that follow it; `draw` then goes on from there.

    Raises:
        UserError: an unknown sampler, or more steps than the schedule has.
        NotFiniteError: during the run, if the latents are not finite; names the step. On a GPU it is raised some steps
            later, at the latest after the last one, because no step waits for the device.
    """
    start = draw() if after is None else after.latents
    if sampler == "sat":
        if not isinstance(schedule, Schedule):
            raise UserError("sampler: sat needs the noise schedule of v-prediction; use another sampler")
        return _finite(sat(predict, start, schedule=schedule, steps=steps, draw=draw, after=after))
    if sampler not in SAMPLERS:
        raise UserError(f"sampler: must be {', '.join(SAMPLERS)} or sat (received {sampler!r})")
    levels = schedule.spaced(steps)
    return _finite(SAMPLERS[sampler](predict, start, schedule=schedule, levels=levels, draw=draw, after=after))


def _finite(steps: Iterator[SamplerStep]) -> Iterator[SamplerStep]:
    check = FiniteCheck()
    for step in steps:
        check.add(step.latents, maker=f"the transformer, at step {step.index + 1} of {step.steps},")
        check.report(wait=step.index + 1 == step.steps)
        yield step
