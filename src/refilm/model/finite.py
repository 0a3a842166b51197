"""Detects values outside the range of their dtype where they arise; later they would become a black video."""

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from refilm.errors import NotFiniteError


def require_finite(values: Tensor, *, maker: str) -> Tensor:
    """Return the values unchanged, or fail if some are not finite.

    Args:
        values: any floating-point tensor.
        maker: what produced the values, as named in the message, for example "the autoencoder".

    Raises:
        NotFiniteError: the values contain NaN or infinity.
    """
    if values.isfinite().all():
        return values
    raise _error(maker)


class FiniteCheck:
    """Checks values as `require_finite` does, without waiting for their device.

    On a GPU the answer arrives later, and `report` raises the error when it has. Answers of devices other than CPUs and
    CUDA's are only read by a `report` that waits.
    """

    def __init__(self) -> None:
        self._answers: deque[_Answer] = deque()

    def add(self, values: Tensor, *, maker: str) -> None:
        """Ask whether values are finite; `maker` is what produced them."""
        finite, ready = values.isfinite().all(), None
        if finite.is_cuda:
            finite = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(finite, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        self._answers.append(_Answer(finite, ready, maker))

    def report(self, *, wait: bool) -> None:
        """Fail if an answer says that values are not finite.

        Args:
            wait: whether to wait for the answers that have not arrived.

        Raises:
            NotFiniteError: the values contain NaN or infinity; names what produced them first.
        """
        while self._answers and (wait or self._answers[0].arrived):
            finite, ready, maker = self._answers.popleft()
            if ready is not None:
                ready.synchronize()
            if not finite:
                raise _error(maker)


class _Answer(NamedTuple):
    finite: Tensor
    ready: torch.cuda.Event | None
    maker: str

    @property
    def arrived(self) -> bool:
        """Whether it can be read without waiting."""
        return self.finite.device.type == "cpu" and (self.ready is None or self.ready.query())


def _error(maker: str) -> NotFiniteError:
    return NotFiniteError(
        f"{maker} gave NaN or infinity: the range of float16 is too narrow for some models, use bfloat16 or float32 "
        "(--dtype); if it happens in those, the weights or the inputs are damaged"
    )
