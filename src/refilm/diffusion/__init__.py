"""The diffusion process: schedule, loss, guidance, samplers. Knows torch alone."""

from refilm.diffusion.guidance import (
    Condition,
    GuidanceScale,
    Model,
    Predict,
    by_timestep,
    constant,
    guided,
    rising,
)
from refilm.diffusion.loss import velocity_loss
from refilm.diffusion.samplers import SAMPLERS, Draw, Sampler, SamplerStep, ddim, dpmpp_2m_sde, gaussian
from refilm.diffusion.sat import sat
from refilm.diffusion.schedule import Schedule, scaled_linear

__all__ = [
    "SAMPLERS",
    "Condition",
    "Draw",
    "GuidanceScale",
    "Model",
    "Predict",
    "Sampler",
    "SamplerStep",
    "Schedule",
    "by_timestep",
    "constant",
    "ddim",
    "dpmpp_2m_sde",
    "gaussian",
    "guided",
    "rising",
    "sat",
    "scaled_linear",
    "velocity_loss",
]
