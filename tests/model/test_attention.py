"""Kernels by name: each that can run here computes the formula."""

import pytest
import torch

from refilm.model import KERNELS, eager


def given(keys, dtype=torch.float32):
    draw = torch.Generator().manual_seed(keys)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return [torch.randn(2, 3, length, 64, generator=draw).to(device, dtype) for length in (40, keys, keys)]


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("keys", [40, 257])  # self-attention, and a reference of CLIP's tokens
def test_every_kernel_is_the_formula_or_says_that_it_cannot_run(name, keys):
    q, k, v = given(keys)
    try:
        got = KERNELS[name](q, k, v)
    except ValueError as error:
        assert name not in ("fused", "math", "eager")
        assert f"attention kernel {name!r} cannot run here, on {q.device.type} in float32 with heads of 64" in str(
            error
        )
    else:
        assert (got - eager(q, k, v)).norm() / eager(q, k, v).norm() < 5e-6


def test_what_the_cpu_can():
    q, k, v = (x.cpu() for x in given(40))
    torch.testing.assert_close(KERNELS["flash"](q, k, v), eager(q, k, v), rtol=0, atol=5e-6)
    with pytest.raises(ValueError, match="kernel 'cudnn' cannot run here, on cpu .* take 'fused'"):
        KERNELS["cudnn"](q, k, v)


def test_other_faults_keep_their_own_words():
    with pytest.raises(RuntimeError, match="size"):
        KERNELS["math"](torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 6), torch.zeros(1, 1, 4, 6))
