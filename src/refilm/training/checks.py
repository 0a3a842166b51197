"""What can be known of a run before clips are encoded. The run itself, a dry run and a self-test all ask it.

Knows the pieces of a recipe; the recipes put them together in their `prepare`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from refilm.files import require_writable
from refilm.model import Adapter, Transformer
from refilm.sizes import TransformerSize
from refilm.training.batches.curriculum import Lesson
from refilm.training.distributed.parallel import own_device, shares
from refilm.training.engine.optimizers import make_optimizers
from refilm.training.engine.quantized import quantize_base
from refilm.training.engine.step import StepSettings


def require_delivery(folder: Path) -> None:
    """That a result can be made beside `folder` and take its place.

    Raises:
        ValueError: a file is in the way, permission is missing, or the disk is read-only or full.
    """
    require_writable(folder)
    require_writable(folder.parent)


def require_steps(loop: StepSettings, lessons: Sequence[Lesson]) -> None:
    """That every lesson's batch can be shared by the processes, and that the optimizer works on their devices.

    Raises:
        ValueError: a batch too small, or a library that is missing.
    """
    for lesson in lessons:
        shares(range(lesson.batch), loop.accumulate)
    make_optimizers([("weight", nn.Parameter(torch.zeros(1, device=own_device())))], loop.optimizer)


def require_fitting(adapter: Adapter, size: TransformerSize, base_dtype: Literal["fp32", "bf16", "int8"]) -> None:
    """That an adapter, with its LoRA, can be put into a transformer that is held in some dtype. Call it on `meta`.

    Raises:
        ValueError: a layer or a library is missing.
    """
    transformer = Transformer(size).requires_grad_(False)
    if base_dtype == "int8":
        quantize_base(transformer)
    adapter.attach(transformer)
