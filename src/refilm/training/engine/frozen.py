"""Frozen weights: checksums that are compared during the whole run, so that no frozen weight changes.

A checksum is computed from a weight's bits on the weight's device, at memory speed. Independent of training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from refilm.training.engine.quantized import parts_of

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(tensor: Tensor) -> int:
    """A 64-bit checksum that changes whenever a single bit of the tensor changes.

    The bits, as 8-byte integers if the row size allows it, are summed by row, and the rows' sums with odd weights,
    modulo 2**64. A changed bit adds an odd multiple of a power of two below 2**64, which is never 0. Several changed
    bits can only cancel by chance (one in 2**64) or if numbers are permuted within a row.
    """
    if not tensor.numel():
        return 0
    size = tensor.element_size()
    rows = tensor.detach().reshape(len(tensor), -1) if tensor.ndim > 1 else tensor.detach().reshape(-1, 1)
    if rows.shape[-1] * size % 8 == 0:
        rows = rows.contiguous() if rows.storage_offset() * size % 8 == 0 else rows.clone()
        bits = rows.view(torch.int64)
    else:
        bits = rows.contiguous().view(INTEGERS[size])
    sums = bits.sum(dim=1, dtype=torch.int64)
    return int((sums * torch.arange(1, 2 * len(sums), 2, device=sums.device)).sum())


@dataclass(frozen=True)
class Frozen:
    """A module's frozen weights, with the checksums they had when this object was created."""

    weights: dict[str, nn.Parameter]
    before: dict[str, list[int]]

    @classmethod
    def of(cls, module: nn.Module) -> "Frozen":
        """The frozen weights of a module whose `requires_grad` flags are set."""
        weights = {name: p for name, p in module.named_parameters() if not p.requires_grad}
        return cls(weights, {name: _checksums(p) for name, p in weights.items()})

    def check(self) -> None:
        """Check that none of them has changed or has a gradient."""
        for name, p in self.weights.items():
            assert p.grad is None, f"{name} is frozen, but has got a gradient"
            assert _checksums(p) == self.before[name], f"{name} is frozen, but has changed"


def finite(weight: Tensor) -> bool:
    """Whether all numbers of a weight, or of this process's shard of it, are finite."""
    return all(bool(part.isfinite().all()) for part in _parts(weight))


def _checksums(weight: Tensor) -> list[int]:
    return [checksum(part) for part in _parts(weight)]


def _parts(weight: Tensor) -> list[Tensor]:
    """The tensors of a weight: itself, those of a quantized weight, or this process's shard."""
    local = weight.to_local() if isinstance(weight, DTensor) else weight
    return parts_of(local.detach())
