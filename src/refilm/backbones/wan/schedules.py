"""Loading and saving of flow matching's schedule in diffusers' layout, without the diffusers package."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from refilm.diffusion import FlowMatching
from refilm.diffusion.flow import LARGEST_SHIFT, Spacing
from refilm.files import atomic_folder, write_json
from refilm.weights.configs import Config, read_config

SHIFT = 3.0
"""Published shift of Wan 2.1 at 480 x 832."""
_SCHEDULE = "scheduler_config.json"
_SPACINGS: dict[str, Spacing] = {
    "UniPCMultistepScheduler": "unipc",
    "DPMSolverMultistepScheduler": "dpmpp",
    "FlowMatchEulerDiscreteScheduler": "euler",
}

Steps = Annotated[int, Field(ge=2, le=100_000)]
Shift = Annotated[float, Field(gt=0, le=LARGEST_SHIFT)]
No = Literal[False] | None


class _Kind(Config):
    class_name: Literal["UniPCMultistepScheduler", "DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler"] = (
        Field(alias="_class_name")
    )
    use_dynamic_shifting: No = False
    use_karras_sigmas: No = False
    use_exponential_sigmas: No = False
    use_beta_sigmas: No = False
    shift_terminal: None = None


class MultistepFields(_Kind):
    """The schedule of diffusers' UniPC and DPM-Solver++."""

    prediction_type: Literal["flow_prediction"]
    use_flow_sigmas: Literal[True]
    final_sigmas_type: Literal["zero"] = "zero"
    num_train_timesteps: Steps = 1000
    shift: Shift = Field(default=1.0, alias="flow_shift")


class EulerFields(_Kind):
    """The schedule of diffusers' Euler method for flow matching."""

    invert_sigmas: Literal[False] = False
    num_train_timesteps: Steps = 1000
    shift: Shift = 1.0


def load_schedule(folder: Path) -> FlowMatching:
    """Load the process from a folder with `scheduler_config.json`; in a pipeline's folder it is `scheduler`.

    Raises:
        UserError: the file is missing, damaged, or has another kind of schedule; names the file and the key.
    """
    path = folder / _SCHEDULE
    spacing = _SPACINGS[read_config(path, _Kind).class_name]
    fields = read_config(path, EulerFields if spacing == "euler" else MultistepFields)
    return FlowMatching(fields.num_train_timesteps, fields.shift, spacing)


def save_schedule(folder: Path, *, shift: float = SHIFT) -> FlowMatching:
    """Write the published schedule, UniPC's, with a shift, and return it."""
    config = {
        "_class_name": "UniPCMultistepScheduler",
        "flow_shift": shift,
        "num_train_timesteps": 1000,
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "solver_order": 2,
        "solver_type": "bh2",
        "predict_x0": True,
        "lower_order_final": True,
        "final_sigmas_type": "zero",
    }
    with atomic_folder(folder, _SCHEDULE) as temporary:
        write_json(temporary / _SCHEDULE, config)
    return FlowMatching(shift=shift)
