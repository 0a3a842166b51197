"""Whole runs by name: which sampler at which timesteps, and how guidance goes. Runs on any `Predict`."""

from collections.abc import Callable, Iterator

from refilm.diffusion.guidance import GuidanceScale, Predict, by_timestep, constant, rising
from refilm.diffusion.samplers import SAMPLERS, Draw, SamplerStep
from refilm.diffusion.sat import sat
from refilm.diffusion.schedule import Schedule

COURSES: dict[str, Callable[[float, int], GuidanceScale]] = {
    "constant": lambda scale, steps: constant(scale),
    "rising": lambda scale, steps: rising(scale),
    "by-timestep": lambda scale, steps: by_timestep(steps, scale),
}
"""Courses of guidance by the names that settings use: (scale, steps of the run) -> guidance."""


def run(sampler: str, predict: Predict, *, schedule: Schedule, steps: int, draw: Draw) -> Iterator[SamplerStep]:
    """Sample with the sampler of that name, from noise, at its own timesteps.

    Args:
        sampler: one of `SAMPLERS`, or `sat`, the original research code's (see `refilm.diffusion.sat` for what else
            makes its films: guidance and an unconditional branch of its own).
        predict: the guided velocity.
        schedule: what the model was trained with.
        steps: how many steps to take.
        draw: the noise; the first that is drawn is the start.

    Raises:
        ValueError: an unknown sampler, or more steps than the schedule has.
    """
    if sampler == "sat":
        return sat(predict, draw(), schedule=schedule, steps=steps, draw=draw)
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: must be {', '.join(SAMPLERS)} or sat (received {sampler!r})")
    return SAMPLERS[sampler](predict, draw(), schedule=schedule, timesteps=schedule.spaced(steps), draw=draw)
