"""What a transformer computes of the timesteps of a run, once for all forward passes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from refilm.model import Backbone, Time

AHEAD = 50
"""Timesteps that are computed at once, which bounds the memory."""


class Times:
    """For guidance: a timestep -> what the model receives of it.

    They are computed within the first forward pass that needs them, so in its precision. Weights that are not plain
    tensors, such as those that are divided among processes, only work within the forward pass of their own layer:
    there the model receives the timestep itself.

    Args:
        transformer: the model. Its weights must not change during the run.
        timesteps: those of the run, in its order. Others are computed one by one.
    """

    def __init__(self, transformer: Backbone, timesteps: Sequence[float]):
        self._transformer, self._planned = transformer, list(timesteps)
        self._known: dict[float, Tensor | Time] = {}
        self._plain = all(type(one) is torch.nn.Parameter for one in transformer.parameters())

    def __call__(self, timestep: float) -> Tensor | Time:
        """The time of a timestep."""
        if not self._plain:
            return torch.full((1,), timestep, device=self._transformer.device)
        if timestep not in self._known:
            first = self._planned.index(timestep) if timestep in self._planned else None
            ahead = [timestep] if first is None else self._planned[first : first + AHEAD]
            self._known = dict(zip(ahead, self._transformer.times(ahead), strict=True))
        return self._known[timestep]
