"""The kernels that compute attention, and the base class of the layers that use one.

Letters: B samples, H heads, L tokens, D channels per head.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from refilm.errors import UserError

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q, k, v) -> out, all (B, H, L, D); the length of k and v may differ from that of q."""


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's automatic choice of a fused kernel. This is the default."""
    return F.scaled_dot_product_attention(q, k, v)


def eager(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v in plain PyTorch, the reference for `fused` (Vaswani et al. 2017, eq. 1)."""
    weights = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)
    return weights @ v


def flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """FlashAttention (Dao et al. 2022, arXiv:2205.14135) in PyTorch. Raises UserError where it cannot run."""
    return _through(SDPBackend.FLASH_ATTENTION, "flash", q, k, v)


def efficient(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Memory-efficient attention (Rabe and Staats 2021, arXiv:2112.05682) in PyTorch. Raises as `flash` does."""
    return _through(SDPBackend.EFFICIENT_ATTENTION, "efficient", q, k, v)


def cudnn(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """NVIDIA's cuDNN kernel through PyTorch. Raises as `flash` does."""
    return _through(SDPBackend.CUDNN_ATTENTION, "cudnn", q, k, v)


def math(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's unfused implementation: runs everywhere, and materializes all attention weights as `eager` does."""
    return _through(SDPBackend.MATH, "math", q, k, v)


KERNELS: dict[str, Kernel] = {
    "fused": fused, "flash": flash, "efficient": efficient, "cudnn": cudnn, "math": math, "eager": eager,
}  # fmt: skip
"""Kernels by the names that settings use."""


def _through(backend: SDPBackend, name: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    try:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v)
    except RuntimeError as error:
        if not str(error).startswith(("No available kernel", "No viable backend")):
            raise
        raise UserError(
            f"attention kernel {name!r} cannot run here, on {q.device.type} in {str(q.dtype).removeprefix('torch.')} "
            f"with heads of {q.shape[-1]} channels: use 'fused', which selects a kernel that can"
        ) from error


class Attention(nn.Module):
    """Base class of attention layers: `kernel` can be replaced, for a while by `swapped`."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.kernel: Kernel = fused
