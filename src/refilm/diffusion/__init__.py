"""The diffusion process: schedule, loss, guidance, samplers. Depends on torch only."""

from refilm.diffusion.acceleration import StepCache
from refilm.diffusion.flow import FlowMatching
from refilm.diffusion.guidance import (
    Condition,
    GuidanceScale,
    Model,
    Predict,
    by_timestep,
    constant,
    guided,
    limited,
    rising,
)
from refilm.diffusion.guidance_forms import GuidanceForm, plain, projected, rescaled
from refilm.diffusion.loss import min_snr_weights, velocity_loss
from refilm.diffusion.magnitudes import MagnitudeCache, MagnitudeRecorder, Magnitudes
from refilm.diffusion.presets import GUIDANCE_SCHEDULES, SAMPLERS, denoise, null_condition, run
from refilm.diffusion.process import Level, Process
from refilm.diffusion.samplers import Draw, Sampler, SamplerStep, ddim, dpmpp_2m_sde, gaussian
from refilm.diffusion.sat import sat
from refilm.diffusion.schedule import Schedule, scaled_linear
from refilm.diffusion.unipc import unipc
from refilm.diffusion.windows import Windows, windowed

__all__ = [
    "GUIDANCE_SCHEDULES",
    "SAMPLERS",
    "Condition",
    "Draw",
    "FlowMatching",
    "GuidanceForm",
    "GuidanceScale",
    "Level",
    "MagnitudeCache",
    "MagnitudeRecorder",
    "Magnitudes",
    "Model",
    "Predict",
    "Process",
    "Sampler",
    "SamplerStep",
    "Schedule",
    "StepCache",
    "Windows",
    "by_timestep",
    "constant",
    "ddim",
    "denoise",
    "dpmpp_2m_sde",
    "gaussian",
    "guided",
    "limited",
    "min_snr_weights",
    "null_condition",
    "plain",
    "projected",
    "rescaled",
    "rising",
    "run",
    "sat",
    "scaled_linear",
    "unipc",
    "velocity_loss",
    "windowed",
]
