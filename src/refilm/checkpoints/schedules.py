"""The noise schedule as diffusers keeps it, both ways. Knows the file, not diffusers itself."""

from pathlib import Path

from refilm.diffusion import Schedule, scaled_linear
from refilm.files import atomic_folder, read_json, write_json

_SCHEDULE = "scheduler_config.json"
_SCHEDULERS = ("CogVideoXDPMScheduler", "CogVideoXDDIMScheduler")
_PROCESS = {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}
_LEVELS = {"beta_start": "beta_start", "beta_end": "beta_end", "snr_shift_scale": "snr_shift"}


def load_schedule(folder: Path | str) -> Schedule:
    """Read the schedule from a folder with `scheduler_config.json`: within a pipeline's, the one called `scheduler`.

    Raises:
        ValueError: the file is missing or damaged, or tells another kind of process; names the file and the key.
    """
    path = Path(folder) / _SCHEDULE
    config = read_json(path)
    if config.get("_class_name") not in _SCHEDULERS:
        raise ValueError(
            f"{path}: _class_name: must be {' or '.join(_SCHEDULERS)} (received {config.get('_class_name')})"
        )
    for key, value in _PROCESS.items():
        if config.get(key) != value:
            raise ValueError(f"{path}: {key}: must be {value} (received {config.get(key)!r})")
    if config.get("trained_betas") is not None:
        raise ValueError(f"{path}: trained_betas: a table of betas is not supported, only a scaled-linear schedule")
    steps, zero = config.get("num_train_timesteps"), config.get("rescale_betas_zero_snr")
    if not isinstance(steps, int) or isinstance(steps, bool):
        raise ValueError(f"{path}: num_train_timesteps: must be a whole number (received {steps!r})")
    if not isinstance(zero, bool):
        raise ValueError(f"{path}: rescale_betas_zero_snr: must be true or false (received {zero!r})")
    numbers = {}
    for key, name in _LEVELS.items():
        if not isinstance(config.get(key), int | float):
            raise ValueError(f"{path}: {key}: must be a number (received {config.get(key)!r})")
        numbers[name] = float(config[key])
    try:
        return scaled_linear(**numbers, steps=steps, zero_terminal_snr=zero)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_schedule(
    folder: Path | str,
    *,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    steps: int = 1000,
    snr_shift: float = 3.0,
    zero_terminal_snr: bool = True,
) -> Schedule:
    """Write a schedule so that diffusers and `load_schedule` read it, and return it. Arguments as `scaled_linear` has.

    Raises:
        ValueError: a number that gives no falling schedule.
    """
    schedule = scaled_linear(
        beta_start=beta_start, beta_end=beta_end, steps=steps, snr_shift=snr_shift, zero_terminal_snr=zero_terminal_snr
    )
    config = {
        "_class_name": _SCHEDULERS[0],
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
