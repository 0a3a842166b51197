"""Dry run: the steps, samples, clips and memory of a run, without training. Writes nothing.

Memory is counted on the model itself, built and run with fake tensors (shapes without data): weights, gradients and
moments exactly, activations as the bytes that a step's forward pass keeps for its backward pass. The overhead of the
allocator and of library workspaces is not included.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from refilm.errors import UserError
from refilm.hub import must_be_fetched
from refilm.model import Attention, eager, fused, swapped
from refilm.training.batches.curriculum import samples_at
from refilm.training.batches.datasets import DataSets
from refilm.training.batches.stream import Batch, Bucket
from refilm.training.distributed.parallel import own_device, split_batch
from refilm.training.engine.parameters import ParameterTable
from refilm.training.engine.precision import dtype_of
from refilm.training.recipes import AdapterRecipe, BaseRecipe, Recipe
from refilm.training.run import checked
from refilm.training.settings import ClipLesson, StepSettings
from refilm.training.tasks.activation_checkpointing import is_self_attention
from refilm.training.tasks.diffusion import DiffusionTask


@dataclass(frozen=True)
class DryRun:
    """Size of a run: steps, samples, clips and memory."""

    stage: str
    steps: int
    samples: int | None
    """Training samples in total, repeated clips counted each time; None: the stage generates its samples."""
    held_out: int = 0
    """Validation clips."""
    buckets: Mapping[Bucket, int] | None = None
    """Training clips, by latent frames, height and width; those of one sample count once. None: they are not encoded
    yet."""
    trained: ParameterTable | None = None
    """Trained and frozen parameters; None if the stage has no such table."""
    notes: tuple[str, ...] = ()
    """Notes about the recipe."""
    activations: int = 0
    """Maximum bytes that one process keeps from forward to backward, without those of LoRA."""

    @property
    def clips(self) -> int:
        """Training clips."""
        return sum((self.buckets or {}).values())

    @property
    def epochs(self) -> float:
        """How often each clip is used."""
        return (self.samples or 0) / self.clips

    @property
    def memory(self) -> int:
        """Minimum bytes that one process needs."""
        return self.activations + (self.trained.bytes if self.trained else 0)


def dry_run_of(
    recipe: Recipe[Any],
    folder: Path,
    *,
    resume: bool | Path = False,
    allow_changes: Collection[str] = (),
) -> DryRun:
    """What `train` would do with the same arguments.

    Raises:
        UserError: as `train` raises before its first step.
    """
    _require_fetched(recipe)
    checked(recipe, folder, resume=resume, allow_changes=allow_changes)
    if not isinstance(recipe, AdapterRecipe | BaseRecipe):
        recipe.task()
        return DryRun(recipe.stage, recipe.loop.steps, samples=None)
    samples = samples_at(recipe.diffusion.curriculum, recipe.loop.steps).start
    if not DataSets(recipe.data).finished:
        return DryRun(recipe.stage, recipe.loop.steps, samples, notes=recipe.notes())
    trained = recipe.task(torch.device("meta")).trained(recipe.loop.optimizer)
    shapes = FakeTensorMode(allow_non_fake_inputs=True)
    task = _without_lora(recipe).task(_here(shapes))
    with _here(shapes):
        activations = max(saved_bytes(task, recipe.loop, lesson) for lesson in recipe.diffusion.curriculum)
    buckets = {bucket: len(indices) for bucket, indices in task.stream.buckets}
    return DryRun(
        recipe.stage,
        recipe.loop.steps,
        samples,
        held_out=len(task.held_out),
        buckets=buckets,
        trained=trained,
        notes=recipe.notes(),
        activations=activations,
    )


def _require_fetched(recipe: Recipe[Any]) -> None:
    models = (recipe.base, recipe.init_from) if isinstance(recipe, AdapterRecipe | BaseRecipe) else ()
    for model in models:
        if model is not None and must_be_fetched(model):
            raise UserError(
                f"{model}: is not in the Hub's cache, and a dry run downloads nothing; run: hf download {model}"
            )


@contextmanager
def _here(shapes: FakeTensorMode) -> Iterator[None]:
    """Within the context new tensors are fake, on the device of this process."""
    with shapes, own_device():
        yield


def _without_lora(recipe: AdapterRecipe | BaseRecipe) -> AdapterRecipe | BaseRecipe:
    """The recipe without LoRA: peft's layers cannot run on fake tensors."""
    if isinstance(recipe, BaseRecipe) or recipe.train.lora is None:
        return recipe
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"lora": None})})


def saved_bytes(task: DiffusionTask, settings: StepSettings, lesson: ClipLesson) -> int:
    """Bytes that the forward pass of one process's part of a batch keeps for the backward pass, without weights."""
    frames, height, width = max(task.train.buckets, key=math.prod)
    count = len(split_batch(range(lesson.batch), settings.accumulate)[0])
    frames = min(frames, lesson.latent_frames or frames)
    with unset_fake_temporarily(), torch.device("cpu"):
        clip = task.train[0]  # reading compares checksums, which needs real tensors
        # fake tables would outlive the dry run
        task.transformer.compute_positions(task.transformer.size.grid(frames, height, width))
    latents = torch.empty(count, frames, clip.mean.shape[1], height, width)
    ones, subjects = torch.ones(count), task.settings.subjects
    batch = Batch(
        latents=latents,
        text=torch.empty(count, *clip.text.shape[1:]),
        reference=torch.empty(count, subjects.most, *clip.references.shape[2:]),
        timesteps=torch.zeros(count, dtype=torch.long),
        noise=torch.empty_like(latents),
        text_scale=ones,
        reference_scale=ones,
        mask=torch.empty_like(latents[:, :, 0]),
        weight=None if subjects.most == 1 else torch.ones(count, subjects.most, clip.references.shape[2]),
        where=torch.empty(count, subjects.most, frames, height, width) if subjects.masks else None,
    )
    kept: dict[int, Tensor] = {}
    weights = {p.untyped_storage()._cdata for p in task.module.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            kept[storage] = tensor  # keeps the storage alive, so that its address is not reused
        return tensor

    class Found(TorchDispatchMode):
        """Also records what selective activation checkpointing keeps, which autograd's hooks do not see."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if task.settings.checkpointing == "selective" and is_self_attention(func, args):
                tree_map_only(Tensor, keep, out)
            return out

    task.products = dtype_of(settings.precision, task.device)
    kernel = fused if torch.cuda.is_available() else eager  # as in `use_eager_attention`
    with ExitStack() as stack:
        stack.enter_context(swapped(task.transformer, Attention, kernel=lambda _: kernel))
        stack.enter_context(saved_tensors_hooks(keep, lambda tensor: tensor))
        stack.enter_context(Found())
        loss = task.losses(batch).mean()
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
