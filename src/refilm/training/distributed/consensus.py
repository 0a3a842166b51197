"""What all processes of a run must agree on: whether to stop, and whether what they did together went well.

Alone, a process agrees with itself at no cost. Knows nothing of what is trained or written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist


def highest(number: int) -> int:
    """The highest number that any process gives."""
    if not dist.is_initialized():
        return number
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    told = torch.tensor(number, device=device)
    dist.all_reduce(told, op=dist.ReduceOp.MAX)
    return int(told)


@contextmanager
def agreed() -> Iterator[None]:
    """What fails for one process within the context fails for all, so that none waits for one that is gone.

    Raises:
        OSError: another process failed; its own error says why.
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
        raise OSError("another process failed; its own message says why")


def gathered(part: dict[str, Any]) -> dict[str, Any]:
    """The parts of all processes in one."""
    if not dist.is_initialized():
        return part
    parts: list[dict[str, Any]] = [{}] * dist.get_world_size()
    dist.all_gather_object(parts, part)
    return {name: value for each in parts for name, value in each.items()}
