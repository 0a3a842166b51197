"""Loading and saving of the noise schedule in diffusers' layout, without the diffusers package."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from refilm.arguments import checked
from refilm.diffusion import Schedule, scaled_linear
from refilm.errors import UserError
from refilm.files import atomic_folder, write_json
from refilm.weights.configs import Config, Small, read_config

SNR_SHIFTS = {"sincos": 3.0, "rotary": 1.0}
"""Published SNR shifts of CogVideoX-2B and 5B."""
_SCHEDULE = "scheduler_config.json"
_PROCESS = {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}


class ScheduleFields(Config):
    """A noise schedule."""

    class_name: Literal["CogVideoXDPMScheduler", "CogVideoXDDIMScheduler"] = Field(alias="_class_name")
    prediction_type: Literal["v_prediction"]
    beta_schedule: Literal["scaled_linear"]
    trained_betas: None = None
    num_train_timesteps: Annotated[int, Field(ge=2, le=100_000)]
    rescale_betas_zero_snr: bool
    beta_start: Small
    beta_end: Small
    snr_shift_scale: Annotated[float, Field(gt=0, le=1e6)]


@checked
def load_schedule(folder: Path | str) -> Schedule:
    """Load the schedule from a folder with `scheduler_config.json`; in a pipeline's folder it is `scheduler`.

    Raises:
        UserError: the file is missing, damaged, or has another kind of schedule; names the file and the key.
    """
    path = Path(folder) / _SCHEDULE
    config = read_config(path, ScheduleFields)
    try:
        return scaled_linear(
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            steps=config.num_train_timesteps,
            snr_shift=config.snr_shift_scale,
            zero_terminal_snr=config.rescale_betas_zero_snr,
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


@checked
def save_schedule(
    folder: Path | str,
    *,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    steps: int = 1000,
    snr_shift: float = 3.0,
    zero_terminal_snr: bool = True,
) -> Schedule:
    """Write a schedule for diffusers and `load_schedule`, and return it. Arguments as in `scaled_linear`.

    Raises:
        UserError: the values do not give a decreasing schedule.
    """
    schedule = scaled_linear(
        beta_start=beta_start, beta_end=beta_end, steps=steps, snr_shift=snr_shift, zero_terminal_snr=zero_terminal_snr
    )
    config = {
        "_class_name": "CogVideoXDPMScheduler",
        "beta_start": beta_start,
        "beta_end": beta_end,
        "num_train_timesteps": steps,
        "snr_shift_scale": snr_shift,
        "rescale_betas_zero_snr": zero_terminal_snr,
        "timestep_spacing": "trailing",
        "clip_sample": False,
        "set_alpha_to_one": True,
        "steps_offset": 0,
        "trained_betas": None,
        **_PROCESS,
    }
    with atomic_folder(Path(folder), _SCHEDULE) as temporary:
        write_json(temporary / _SCHEDULE, config)
    return schedule
