"""Fully sharded data parallelism (FSDP2): every process stores a part of every weight. Takes long to import."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from refilm.training.distributed.parallel import HasLoss, SingleProcess, own_device, place


class Sharded(SingleProcess):
    """Every process stores a shard of every weight, gradient and moment (FSDP2): for whole models.

    Args:
        task: computes the loss.
        modules: FSDP units, inner modules before those that contain them. Their weights become DTensors.
        dtype: of gathered weights on a GPU, where autocast converts norms back to float32; None: unchanged. Gradients
            are then summed in float32.
    """

    sharded = True

    def __init__(self, task: HasLoss, modules: Sequence[nn.Module], *, dtype: torch.dtype | None):
        super().__init__(task)
        device = own_device().type
        mesh, gathered = init_device_mesh(device, (place().size,)), dtype if device == "cuda" else None
        summed = torch.float32 if gathered else None
        policy = MixedPrecisionPolicy(param_dtype=gathered, reduce_dtype=summed, cast_forward_inputs=False)
        for module in modules:
            fully_shard(module, mesh=mesh, mp_policy=policy)
        self.units = [module for module in modules if isinstance(module, FSDPModule)]

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        for unit in self.units:
            unit.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            for unit in self.units:
                unit.set_requires_gradient_sync(True)


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """Shard a tensor that all processes have in the same way as `other`."""
    if isinstance(other, DTensor) and not isinstance(tensor, DTensor):
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
    return tensor


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor, gathered from all processes if it is sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
