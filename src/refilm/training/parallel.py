"""Several processes as one: every process takes its share of a batch, gradients are averaged.

Under `torchrun` a run uses all its processes; without it, it is the only one. Knows nothing of what is trained.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Place(NamedTuple):
    """Which of the processes this one is."""

    rank: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's rows of a batch."""
        return rows[self.rank :: self.size]


def place() -> Place:
    """This process among those that train together."""
    return Place(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Place(0, 1)


@contextmanager
def joined() -> Iterator[Place]:
    """Within the context the processes that `torchrun` started are a group; alone, nothing is set up."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield place()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield place()
    finally:
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Go on when every process is here."""
    if dist.is_initialized():
        dist.barrier()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together)
    together /= dist.get_world_size()
    for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def average(values: dict[str, Tensor]) -> dict[str, float]:
    """Numbers, averaged over the processes."""
    together = torch.stack([value.detach().float() for value in values.values()])
    if dist.is_initialized():
        dist.all_reduce(together)
        together /= dist.get_world_size()
    return dict(zip(values, together.tolist(), strict=True))
