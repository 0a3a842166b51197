"""Several processes as one: every process takes its share of a batch, gradients are averaged.

Under `torchrun` a run uses all its processes; without it, it is the only one. Knows nothing of what is trained.
"""

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

LONGEST = timedelta(days=7)  # that processes wait for one that lives, and still encodes its clips; see `heartbeats`


class Place(NamedTuple):
    """Which of the processes this one is."""

    rank: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0


def place() -> Place:
    """This process among those that train together."""
    return Place(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Place(0, 1)


@contextmanager
def joined() -> Iterator[Place]:
    """Within the context the processes that `torchrun` started are a group; alone, nothing is set up.

    Nothing that uses the group may outlive it: where a replica's destructor ends it, that waits for threads of the
    group while it holds the interpreter, which one of them may need to end.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield place()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=LONGEST)
    try:
        yield place()
    finally:
        gc.collect()  # replicas hold themselves in circles
        dist.destroy_process_group()


def own_device() -> torch.device:
    """Where this process computes: its own GPU, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def wait_for_all() -> None:
    """Go on when every process is here."""
    if dist.is_initialized():
        dist.barrier()


def shares(samples: range, parts: int) -> list[range]:
    """This process's samples of a batch, in `parts` parts, each as large as the others or by one larger.

    Raises:
        ValueError: there are fewer samples than parts in all processes together.
    """
    here = place()
    pieces = here.size * parts
    if len(samples) < pieces:
        raise ValueError(
            f"a batch of {len(samples)} cannot be shared by {here.size} processes in {parts} parts each: give a batch "
            f"of at least {pieces}, or fewer processes, or a smaller loop.accumulate"
        )
    return [samples[here.rank + part * here.size :: pieces] for part in range(parts)]


def total(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Numbers, summed over the processes."""
    together = torch.stack([value.detach().float() for value in values.values()])
    if dist.is_initialized():
        dist.all_reduce(together)
    return dict(zip(values, together.tolist(), strict=True))


class HasLoss(Protocol):
    """What is needed of a task here."""

    module: nn.Module

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The mean loss of some samples of a step, under "loss"."""
        ...


class Alone:
    """A task in the only process. The two classes below do the same in one of several."""

    sharded = False

    def __init__(self, task: HasLoss):
        self.task = task

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """As the task's own; backward through it averages the gradients over the processes."""
        return self.task.loss(step, samples)

    def kept_apart(self) -> AbstractContextManager[Any]:
        """Within the context, forward and backward leave the gradients where they are, to be averaged by the next."""
        return nullcontext()


class Replicated(Alone):
    """Every process holds all weights (DDP): for adapters."""

    def __init__(self, task: HasLoss):
        super().__init__(task)
        self.module = DistributedDataParallel(_Losses(task), gradient_as_bucket_view=True)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        return self.module(step, samples)

    def kept_apart(self) -> AbstractContextManager[Any]:
        return self.module.no_sync()


class Sharded(Alone):
    """Every process holds its share of every weight, gradient and moment (FSDP2): for whole models.

    Args:
        task: gives the loss.
        modules: what is gathered at a time, inner ones first and the whole last. Their weights become DTensors.
        dtype: of gathered weights on a GPU, where autocast brings norms back to float32; none: as they are. Gradients
            are summed in float32.
    """

    sharded = True

    def __init__(self, task: HasLoss, modules: Sequence[nn.Module], *, dtype: torch.dtype | None):
        super().__init__(task)
        device = own_device().type
        mesh, gathered = init_device_mesh(device, (place().size,)), dtype if device == "cuda" else None
        policy = MixedPrecisionPolicy(param_dtype=gathered, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for module in modules:
            fully_shard(module, mesh=mesh, mp_policy=policy)
        self.whole = modules[-1]

    @contextmanager
    def kept_apart(self) -> Iterator[None]:
        assert isinstance(self.whole, FSDPModule)
        self.whole.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self.whole.set_requires_gradient_sync(True)


class _Losses(nn.Module):
    """A task's loss as a module's forward, which is where DDP looks."""

    def __init__(self, task: HasLoss):
        super().__init__()
        self.module, self.task = task.module, task

    def forward(self, step: int, samples: range) -> dict[str, Tensor]:
        return self.task.loss(step, samples)


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor that all processes hold, spread over them as `other` is."""
    if isinstance(other, DTensor) and not isinstance(tensor, DTensor):
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
    return tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, gathered from all processes where it is spread over them."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
