"""Checks that are possible before clips are encoded; used by a run, a dry run and a self-test.

Each function checks one part of a recipe; the recipes call them in `prepare`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from refilm.backbones import family_of
from refilm.errors import UserError
from refilm.files import require_writable
from refilm.geometry import Geometry
from refilm.model import Adapter
from refilm.training.distributed.parallel import own_device, split_batch
from refilm.training.engine.optimizers import make_optimizers
from refilm.training.engine.quantized import quantize_base
from refilm.training.settings import ClipLesson, Lesson, StepSettings


def require_delivery(folder: Path) -> None:
    """Check that the result can be written next to `folder` and replace it.

    Raises:
        UserError: a file is in the way, a permission is missing, or the disk is read-only or full.
    """
    require_writable(folder)
    require_writable(folder.parent)


def require_steps(loop: StepSettings, lessons: Sequence[Lesson]) -> None:
    """Check that every lesson's batch can be split over the processes, and that the optimizer works on their devices.

    Raises:
        UserError: a batch is too small, or a library is missing.
    """
    for lesson in lessons:
        split_batch(range(lesson.batch), loop.accumulate)
    make_optimizers([("weight", nn.Parameter(torch.zeros(1, device=own_device())))], loop.optimizer)


def require_whole_tokens(lessons: Sequence[ClipLesson], size: Geometry) -> None:
    """Check that the clips of every lesson can be divided into tokens.

    Raises:
        UserError: a lesson's latent frames are not a multiple of those that a token covers.
    """
    each = size.patch_time
    for lesson in lessons:
        if (frames := lesson.latent_frames or 0) % each:
            low = max(1, frames // each) * each
            raise UserError(
                f"diffusion.curriculum: latent_frames {frames} is not a multiple of {each}, the latent frames that a "
                f"token of the base model covers; use {low} or {low + each}"
            )


def require_fitting(adapter: Adapter, size: Geometry, base_dtype: Literal["fp32", "bf16", "int8"]) -> None:
    """Check that an adapter, with its LoRA, fits a transformer stored in `base_dtype`. Call it on device `meta`.

    Raises:
        UserError: a layer or a library is missing.
    """
    transformer = family_of(size).create(size).requires_grad_(False)
    if base_dtype == "int8":
        quantize_base(transformer)
    adapter.attach(transformer)
