"""How much two results of the same computation differ."""

import torch
from torch import Tensor

from gpu.timing import Facts
from refilm.evaluation import psnr


def deviation(got: Tensor, expected: Tensor, bound: float) -> Facts:
    """The norm of the difference divided by the norm of what is expected, and whether it is within a bound."""
    expected = expected.float().cpu()
    error = float(torch.linalg.vector_norm(got.float().cpu() - expected) / torch.linalg.vector_norm(expected))
    return {"error": error, "bound": bound, "within": error <= bound}


def likeness(got: Tensor, expected: Tensor, *, peak: float) -> Facts:
    """Whether two tensors are the same, and else their PSNR in dB; `peak` is the range of their values."""
    same = torch.equal(got, expected)
    return {"same": same, "psnr": None if same else psnr(got, expected, peak=peak)}
