"""What a run would be, before it is one: steps, samples, clips and memory. Reads what is there and writes nothing.

Memory is counted on the model itself, built and run without weights (fake tensors know shapes alone): weights,
gradients and moments exactly, activations as the bytes that a step's forward pass keeps for its backward pass. What an
allocator and a library's workspaces add comes on top.
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

from refilm.hub import must_be_fetched
from refilm.model import JointAttention, ReferenceAttention, eager, fused, swapped
from refilm.training.batches.curriculum import samples_at
from refilm.training.batches.stream import Batch, Bucket, ClipLesson
from refilm.training.distributed.parallel import own_device, shares
from refilm.training.engine.parameters import ParameterTable
from refilm.training.engine.precision import dtype_of
from refilm.training.engine.step import StepSettings
from refilm.training.recipes import AdapterRecipe, BaseRecipe, Recipe
from refilm.training.run import checked
from refilm.training.tasks.activation_checkpointing import is_self_attention
from refilm.training.tasks.diffusion import DiffusionTask


@dataclass(frozen=True)
class Plan:
    """What a run would be."""

    stage: str
    steps: int
    samples: int | None
    """Learned from in all, clips counted as often as they come; none: the stage draws them itself."""
    held_out: int = 0
    """Clips to validate on."""
    buckets: Mapping[Bucket, int] | None = None
    """Clips to learn from, by their latents' frames, height and width; none: they are not encoded yet."""
    trained: ParameterTable | None = None
    """What trains; none where the stage has no such table."""
    notes: tuple[str, ...] = ()
    """What is better known before than after."""
    activations: int = 0
    """Bytes that one process keeps from forward to backward, at most; those of low-rank changes are not counted."""

    @property
    def clips(self) -> int:
        """Clips to learn from."""
        return sum((self.buckets or {}).values())

    @property
    def epochs(self) -> float:
        """How often each clip is learned from."""
        return (self.samples or 0) / self.clips

    @property
    def memory(self) -> int:
        """Bytes that one process needs, at least."""
        return self.activations + (self.trained.bytes if self.trained else 0)


def dry_run_of(
    recipe: Recipe[Any],
    folder: Path,
    *,
    resume: bool | Path = False,
    allow_changes: Collection[str] = (),
) -> Plan:
    """What `train` would do, given the same.

    Raises:
        ValueError: as `train` before its first step.
    """
    _require_fetched(recipe)
    checked(recipe, folder, resume=resume, allow_changes=allow_changes)
    if not isinstance(recipe, AdapterRecipe | BaseRecipe):
        recipe.task()
        return Plan(recipe.stage, recipe.loop.steps, samples=None)
    samples = samples_at(recipe.diffusion.curriculum, recipe.loop.steps).start
    if not recipe.data.finished:
        return Plan(recipe.stage, recipe.loop.steps, samples, notes=recipe.notes())
    trained = recipe.task(torch.device("meta")).trained(recipe.loop.optimizer)
    shapes = FakeTensorMode(allow_non_fake_inputs=True)
    task = _without_lora(recipe).task(_here(shapes))
    with _here(shapes):
        activations = max(saved_bytes(task, recipe.loop, lesson) for lesson in recipe.diffusion.curriculum)
    buckets = {bucket: len(indices) for bucket, indices in task.train.buckets.items()}
    return Plan(
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
            raise ValueError(
                f"{model}: is not in the Hub's cache, and a dry run fetches nothing; get it with: hf download {model}"
            )


@contextmanager
def _here(shapes: FakeTensorMode) -> Iterator[None]:
    """Within the context tensors are fake, and lie where this process computes."""
    with shapes, own_device():
        yield


def _without_lora(recipe: AdapterRecipe | BaseRecipe) -> AdapterRecipe | BaseRecipe:
    """What peft puts in cannot be run on fake tensors."""
    if isinstance(recipe, BaseRecipe) or recipe.train.lora is None:
        return recipe
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"lora": None})})


def saved_bytes(task: DiffusionTask, settings: StepSettings, lesson: ClipLesson) -> int:
    """What the forward pass of one process's part of a batch keeps for the backward pass, weights not counted."""
    frames, height, width = max(task.train.buckets, key=math.prod)
    count = len(shares(range(lesson.batch), settings.accumulate)[0])
    with unset_fake_temporarily():  # what is read is compared with its checksum, and so must be real
        clip = task.train[0]
    latents = torch.empty(count, min(frames, lesson.latent_frames or frames), clip.mean.shape[1], height, width)
    ones = torch.ones(count)
    batch = Batch(
        latents=latents,
        text=torch.empty(count, *clip.text.shape[1:]),
        reference=torch.empty(count, *clip.references.shape[2:]),
        timesteps=torch.zeros(count, dtype=torch.long),
        noise=torch.empty_like(latents),
        text_scale=ones,
        reference_scale=ones,
        mask=torch.empty_like(latents[:, :, 0]),
    )
    kept: dict[int, Tensor] = {}
    weights = {p.untyped_storage()._cdata for p in task.module.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            kept[storage] = tensor  # which keeps its storage's number from being given to another
        return tensor

    class Found(TorchDispatchMode):
        """Also what selective checkpointing keeps, of which autograd is not told."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if task.settings.checkpointing == "selective" and is_self_attention(func, args):
                tree_map_only(Tensor, keep, out)
            return out

    dtype = dtype_of(settings.precision, task.device)
    kernel = fused if torch.cuda.is_available() else eager  # as in `use_eager_attention`
    with ExitStack() as stack:
        for kind in (JointAttention, ReferenceAttention)[: 2 if task.adapter else 1]:
            stack.enter_context(swapped(task.transformer, kind, kernel=lambda _: kernel))
        stack.enter_context(torch.autocast(task.device.type, dtype, enabled=dtype != torch.float32))
        stack.enter_context(saved_tensors_hooks(keep, lambda tensor: tensor))
        stack.enter_context(Found())
        loss = task.losses(batch).mean()
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
