"""The fields of model configurations that refilm reads, with types and bounds. Other fields are ignored."""

from typing import Annotated, Literal

from pydantic import Field

from refilm.weights.configs import Config, Small


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
