"""What parts of a run remember from step to step, as tensors, so that a run can be saved and continued."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

State = Mapping[str, Tensor]
"""Tensors by name."""


@runtime_checkable
class Memory(Protocol):
    """A part of a run that remembers something between steps."""

    def state(self) -> State:
        """What it remembers now; empty before the first step."""
        ...

    def restore(self, state: State) -> None:
        """Remember this instead."""
        ...
