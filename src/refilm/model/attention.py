"""The kernels that compute attention, and the base class of the layers that use one.

Letters: B samples, H heads, L tokens, D channels per head.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from refilm.errors import UserError

Kernel = Callable[..., Tensor]
"""(q, k, v) or (q, k, v, bias) -> out: q, k, v and out are (B, H, L, D), where the length of k and v may differ from
that of q; bias is added to the scores, broadcast to (B, H, Lq, Lk). Only reference attention passes a bias, and only
for references with weights."""


def fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """PyTorch's automatic choice of a fused kernel. This is the default."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def eager(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v in plain PyTorch, the twin of `fused` (Vaswani et al. 2017, eq. 1)."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    return torch.softmax(scores if bias is None else scores + bias, dim=-1) @ v


def flash(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """FlashAttention (Dao et al. 2022, arXiv:2205.14135) in PyTorch. Raises UserError where it cannot run."""
    return _through(SDPBackend.FLASH_ATTENTION, "flash", q, k, v, bias)


def efficient(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Memory-efficient attention (Rabe and Staats 2021, arXiv:2112.05682) in PyTorch. Raises as `flash` does."""
    return _through(SDPBackend.EFFICIENT_ATTENTION, "efficient", q, k, v, bias)


def cudnn(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """NVIDIA's cuDNN kernel through PyTorch. Raises as `flash` does."""
    return _through(SDPBackend.CUDNN_ATTENTION, "cudnn", q, k, v, bias)


def math(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """PyTorch's unfused implementation: runs everywhere, and materializes all attention weights as `eager` does."""
    return _through(SDPBackend.MATH, "math", q, k, v, bias)


KERNELS: dict[str, Kernel] = {
    "fused": fused, "flash": flash, "efficient": efficient, "cudnn": cudnn, "math": math, "eager": eager,
}  # fmt: skip
"""Kernels by the names that settings use."""


def _through(backend: SDPBackend, name: str, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    try:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    except RuntimeError as error:
        if not str(error).startswith(("No available kernel", "No viable backend")):
            raise
        raise UserError(
            f"attention kernel {name!r} cannot run here, on {q.device.type} in {str(q.dtype).removeprefix('torch.')} "
            f"with heads of {q.shape[-1]} channels{'' if bias is None else ' and weighted tokens'}: use 'fused', which "
            "selects a kernel that can"
        ) from error


class Attention(nn.Module):
    """Base class of attention layers: `kernel` can be replaced, for a while by `swapped`."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.kernel: Kernel = fused


class TextReader(Attention):
    """Base class of layers in which the video reads the text: among keys, and queries if it has any, text comes first,
    and video tokens are the last queries."""
