"""Every kernel that can run on this machine computes the attention formula."""

import pytest
import torch

from refilm.model import KERNELS, eager

ANYWHERE = ("fused", "math", "eager")


def given(keys):
    draw = torch.Generator().manual_seed(keys)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return [torch.randn(2, 3, length, 64, generator=draw).to(device) for length in (40, keys, keys)]


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("keys", [40, 257])  # self-attention, and a reference of CLIP's tokens
def test_every_kernel_that_runs_here_is_the_formula(name, keys):
    q, k, v = given(keys)
    try:
        got = KERNELS[name](q, k, v)
    except ValueError:
        if name in ANYWHERE:
            raise
        pytest.skip(f"{name} does not run on {q.device.type} in float32")
    expected = eager(q, k, v)
    assert (got - expected).norm() / expected.norm() < 5e-6


def test_one_that_does_not_run_says_so():
    with pytest.raises(ValueError, match=r"kernel 'cudnn' cannot run here, on cpu in float32 .* 64 .*: use 'fused'"):
        KERNELS["cudnn"](*(x.cpu() for x in given(40)))


def test_other_faults_keep_their_own_words():
    with pytest.raises(RuntimeError, match="size"):
        KERNELS["math"](torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 6), torch.zeros(1, 1, 4, 6))
