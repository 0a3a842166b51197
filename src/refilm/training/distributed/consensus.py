"""Consensus between the processes of a run: whether to stop, and whether a joint operation succeeded.

In a single process all functions return at once. Independent of what is trained or written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from refilm.errors import MachineError


def highest(number: int) -> int:
    """The maximum of a number over all processes."""
    if not dist.is_initialized():
        return number
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    result = torch.tensor(number, device=device)
    dist.all_reduce(result, op=dist.ReduceOp.MAX)
    return int(result)


@contextmanager
def agreed() -> Iterator[None]:
    """Within the context an error in one process raises in all, so that none waits for one that has ended.

    Raises:
        MachineError: another process failed; that process reports the cause.
    """
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = highest(failure is not None)
    if failure is not None:
        raise failure
    if failed:
        raise MachineError("another process failed; see its error message")


def gathered(part: dict[str, Any]) -> dict[str, Any]:
    """Merge the dictionaries of all processes."""
    if not dist.is_initialized():
        return part
    parts: list[dict[str, Any]] = [{}] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return {name: value for each in parts for name, value in each.items()}
