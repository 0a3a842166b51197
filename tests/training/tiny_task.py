"""A tiny diffusion task on clips in memory, with weights of full size, so that every gradient counts."""

from refilm.diffusion import scaled_linear
from refilm.model import Adapter
from refilm.sizes import AdapterSize
from refilm.training.batches.stream import ClipLesson
from refilm.training.engine.optimizers import OptimizerSettings
from refilm.training.engine.step import StepSettings
from refilm.training.tasks.diffusion import DiffusionSettings, DiffusionTask, TrainSettings

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


def adapter_size() -> AdapterSize:
    return adapter().size


def steps(**settings) -> StepSettings:
    """Large steps of AdamW in float32."""
    optimizer = OptimizerSettings(kind="adamw", learning_rate=1e-2, warm_up=0, ema=0.9)
    return StepSettings(**{"steps": 20, "precision": "fp32", "optimizer": optimizer, **settings})
