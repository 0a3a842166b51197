"""Data parallelism: every process computes a part of the batch, and gradients are averaged (DDP; FSDP2 in `sharding`).

Under `torchrun` a run uses all its processes; otherwise there is a single one. Independent of what is trained.
"""

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from refilm.errors import UserError

LONGEST = timedelta(days=7)  # timeout of collectives: a process may encode clips for long; see `heartbeats`


class Place(NamedTuple):
    """Rank of this process, and number of processes."""

    rank: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this process prints and writes for all processes."""
        return self.rank == 0


def place() -> Place:
    """The rank of this process and the number of processes of the run."""
    return Place(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Place(0, 1)


@contextmanager
def joined() -> Iterator[Place]:
    """Within the context the processes started by `torchrun` form a process group; a single process needs none.

    Nothing that uses the group may outlive it: if a DDP module's destructor destroys the group, it waits for the
    group's threads while it holds the GIL, which one of these threads may need to end.
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
        gc.collect()  # DDP modules are in reference cycles
        dist.destroy_process_group()


def own_device() -> torch.device:
    """The device of this process: its own GPU, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def wait_for_all() -> None:
    """Wait for all processes (a barrier)."""
    if dist.is_initialized():
        dist.barrier()


def split_batch(samples: range, parts: int) -> list[range]:
    """This process's samples of a batch, split into `parts` parts whose sizes differ by at most one.

    Raises:
        UserError: there are fewer samples than parts in all processes together.
    """
    here = place()
    pieces = here.size * parts
    if len(samples) < pieces:
        raise UserError(
            f"a batch of {len(samples)} cannot be split over {here.size} processes in {parts} parts each: use a batch "
            f"of at least {pieces}, fewer processes, or a smaller loop.accumulate"
        )
    return [samples[here.rank + part * here.size :: pieces] for part in range(parts)]


def total(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Sum numbers over the processes."""
    together = torch.stack([value.detach().float() for value in values.values()])
    if dist.is_initialized():
        dist.all_reduce(together)
    return dict(zip(values, together.tolist(), strict=True))


class HasLoss(Protocol):
    """The part of a task that is used here."""

    module: nn.Module

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The mean loss of some samples of a step, under "loss"."""
        ...


class SingleProcess:
    """A task in a single process. Its subclasses `Replicated` and `sharding.Sharded` do it in several processes."""

    sharded = False

    def __init__(self, task: HasLoss):
        self.task = task

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The task's loss; its backward pass averages the gradients over the processes."""
        return self.task.loss(step, samples)

    def no_sync(self) -> AbstractContextManager[Any]:
        """Within the context backward passes do not average gradients; the next one outside of it does."""
        return nullcontext()


class Replicated(SingleProcess):
    """Every process stores all weights (DDP): for adapters."""

    def __init__(self, task: HasLoss):
        super().__init__(task)
        self.module = DistributedDataParallel(_Losses(task), gradient_as_bucket_view=True)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        return self.module(step, samples)

    def no_sync(self) -> AbstractContextManager[Any]:
        return self.module.no_sync()


class _Losses(nn.Module):
    """A module whose forward is the task's loss, as DDP requires."""

    def __init__(self, task: HasLoss):
        super().__init__()
        self.module, self.task = task.module, task

    def forward(self, step: int, samples: range) -> dict[str, Tensor]:
        return self.task.loss(step, samples)
