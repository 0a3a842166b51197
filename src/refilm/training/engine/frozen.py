"""What is frozen stays as it is: checksums of all frozen weights, compared through the whole run.

A checksum is made of a weight's bits where the weight lies, at the speed of its memory. Knows tensors; nothing of how
they are trained.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from refilm.training.engine.quantized import parts_of

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(tensor: Tensor) -> int:
    """A number that any changed bit of a tensor changes.

    The bits, as integers of 8 bytes where a row is made of such, are summed by row, and the rows' sums with odd
    weights, modulo 2**64. One bit moves that by an odd multiple of a power of two below 2**64, which is never 0.
    Several bits at once can only cancel by chance, one in 2**64, or where numbers change places within a row.
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
    """A module's frozen weights, with their checksums when this was made: what no step may change."""

    weights: dict[str, nn.Parameter]
    before: dict[str, list[int]]

    @classmethod
    def of(cls, module: nn.Module) -> "Frozen":
        """Those of a module that has been told what trains."""
        weights = {name: p for name, p in module.named_parameters() if not p.requires_grad}
        return cls(weights, {name: _checksums(p) for name, p in weights.items()})

    def check(self) -> None:
        """That none of them has changed or has got a gradient."""
        for name, p in self.weights.items():
            assert p.grad is None, f"{name} is frozen, but has got a gradient"
            assert _checksums(p) == self.before[name], f"{name} is frozen, but has changed"


def finite(weight: Tensor) -> bool:
    """Whether a weight, or what this process has of it, is made of finite numbers."""
    return all(bool(part.isfinite().all()) for part in _parts(weight))


def _checksums(weight: Tensor) -> list[int]:
    return [checksum(part) for part in _parts(weight)]


def _parts(weight: Tensor) -> list[Tensor]:
    """The tensors that a weight is made of: one, those of a quantized one, or what this process has of it."""
    local = weight.to_local() if isinstance(weight, DTensor) else weight
    return parts_of(local.detach())
