"""A tiny diffusion task on clips in memory, with weights of full size, so that every gradient counts."""

from dataclasses import replace

from refilm.diffusion import scaled_linear
from refilm.geometry import AdapterSize
from refilm.model import Adapter
from refilm.training.batches.stream import Batch
from refilm.training.settings import ClipLesson, DiffusionSettings, OptimizerSettings, StepSettings, TrainSettings
from refilm.training.tasks.diffusion import DiffusionTask

from ..model.tiny import REFERENCE_DIM, SINCOS, adapter, transformer
from .clips import Clips

CLIPS = Clips({(3, 4, 4): 7, (2, 4, 6): 5}, channels=SINCOS.channels, text=SINCOS.text_dim, reference=REFERENCE_DIM)


def task(*, batch: int = 6, made: Adapter | None = None, training: TrainSettings | None = None, dtype=None, **settings):
    """The task; `made` is its adapter, where it is not the plain one."""
    lessons = (ClipLesson(until=1, batch=batch),)
    return DiffusionTask(
        DiffusionSettings(**{"curriculum": lessons, "seed": 3, **settings}),
        transformer().to(dtype),
        scaled_linear(),
        adapter=made or adapter(),
        train=CLIPS,
        held_out=CLIPS,
        training=training,
    )


def in_float64(made: DiffusionTask) -> DiffusionTask:
    """The task in float64, for comparisons of two orders of summation.

    AdamW divides every gradient by its own size, so the elements whose gradient is rounding noise, a fraction of about
    epsilon, may move anywhere: after some steps two correct runs differ by about sqrt(epsilon) of what the weights
    moved. That is 2e-8 here, and 3e-4 in float32.
    """
    made.module.double()
    draw = made.draw

    def wide(*of) -> Batch:
        batch = draw(*of)
        tensors = {name: t for name, t in vars(batch).items() if t is not None and t.is_floating_point()}
        return replace(batch, **{name: t.double() for name, t in tensors.items()})

    made.draw = wide
    return made


def adapter_size() -> AdapterSize:
    return adapter().size


def steps(**settings) -> StepSettings:
    """Large steps of AdamW in float32."""
    optimizer = OptimizerSettings(kind="adamw", learning_rate=1e-2, warm_up=0, ema=0.9)
    return StepSettings(**{"steps": 20, "precision": "fp32", "optimizer": optimizer, **settings})
