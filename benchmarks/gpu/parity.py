"""Whether a GPU computes what the CPU computes: dtypes, attention kernels, compiled blocks, 8-bit weights, CUDA tests.

`error` is the norm of the difference divided by the norm of what it is compared with; `within` compares it with
`bound`. The bounds allow for rounding in two layers: a wrong computation has errors near 1. Kernels are also timed at
the length of a whole video with guidance, `seconds`.
"""

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from gpu.comparing import deviation
from gpu.models import REFERENCE_TOKENS, Sizes, compiled_blocks, random_adapter, random_transformer, sizes_for
from gpu.part import Run
from gpu.timing import Facts, executed, once
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.errors import UserError
from refilm.model import KERNELS, Kernel, eager
from refilm.training.engine.quantized import quantize_base

FORWARD_BOUNDS = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 3e-2}
"""Of a forward pass, against the CPU's in float32."""
KERNEL_BOUNDS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Of a kernel, against the formula in float32 on the same rounded values."""
COMPILED_BOUND = 2e-2
"""Of compiled blocks, which round less often, against the same in bfloat16."""
INT8_BOUND = 3e-2
"""Of 8-bit weights, against bfloat16: a weight is rounded to one of 255 values."""
UNFUSED = ("math", "eager")
"""Kernels that store all attention weights, which do not fit a whole video."""
ROOT = Path(__file__).parents[2]
CUDA_TESTS = ("tests/model/test_attention.py",)
"""Tests of the test suite that use a GPU if there is one."""


def measure(run: Run) -> None:
    """All comparisons, each in a case of its own."""
    torch.backends.cudnn.allow_tf32 = False  # float32 is compared as float32
    sizes = sizes_for(tiny=run.tiny)
    small = Forward(replace(sizes.transformer, layers=2))
    with torch.inference_mode():
        expected = small(torch.device("cpu"), torch.float32)
        for dtype, bound in FORWARD_BOUNDS.items():
            run.attempt(f"forward, {dtype}", partial(forward, small, expected, dtype, bound, run.device))
        for name, kernel in KERNELS.items():
            for dtype, bound in KERNEL_BOUNDS.items():
                run.attempt(f"{name}, {dtype}", partial(kernel_error, kernel, sizes, dtype, bound, run.device))
            if name not in UNFUSED:
                run.attempt(f"{name}, whole video", partial(kernel_time, kernel, sizes, run.device))
        run.attempt(
            "compiled blocks",
            partial(changed, small, partial(compile_blocks, run.compiler), COMPILED_BOUND, run.device),
        )
        run.attempt("8-bit weights", partial(changed, small, quantize, INT8_BOUND, run.device))
    run.attempt("CUDA tests", partial(run_tests, run.device))


class Forward:
    """One forward pass of a transformer with an adapter and a reference, with the same numbers on every device."""

    def __init__(self, size: TransformerSize):
        cpu, rng = torch.device("cpu"), torch.Generator().manual_seed(0)  # whose random numbers are the same everywhere
        self._transformer = random_transformer(size, device=cpu, dtype=torch.float32)
        self._adapter = random_adapter(size, device=cpu, dtype=torch.float32)
        self._adapter.attach(self._transformer)  # whose copies then contain its layers
        self._latents = torch.randn(1, 3, size.channels, 16, 24, generator=rng)
        self._text = torch.randn(1, size.text_length, size.text_dim, generator=rng)
        self._tokens = torch.randn(1, REFERENCE_TOKENS, self._adapter.size.reference_dim, generator=rng)

    def __call__(
        self, device: torch.device, dtype: torch.dtype, change: Callable[[Transformer], object] = lambda _: None
    ) -> Tensor:
        """The velocity, after a change of a copy of the transformer."""
        transformer, adapter = (copy.deepcopy(part).to(device, dtype) for part in (self._transformer, self._adapter))
        change(transformer)
        latents, text, tokens = (given.to(device, dtype) for given in (self._latents, self._text, self._tokens))
        return transformer(latents, torch.tensor([500], device=device), text, adapter.references(tokens))


def forward(small: Forward, expected: Tensor, dtype: torch.dtype, bound: float, device: torch.device) -> Facts:
    """A forward pass on the device against that on the CPU."""
    return deviation(small(device, dtype), expected, bound)


def changed(small: Forward, change: Callable[[Transformer], object], bound: float, device: torch.device) -> Facts:
    """A forward pass in bfloat16 of a changed transformer against that of the unchanged one."""
    return deviation(small(device, torch.bfloat16, change), small(device, torch.bfloat16), bound)


def compile_blocks(compiler: str, transformer: Transformer) -> None:
    """Let the trunk run compiled blocks."""
    transformer.trunk.run_block = compiled_blocks(compiler)


def quantize(transformer: Transformer) -> None:
    """Round the weights of the blocks' linear layers to 8 bits."""
    quantize_base(transformer)


def kernel_error(kernel: Kernel, sizes: Sizes, dtype: torch.dtype, bound: float, device: torch.device) -> Facts:
    """A kernel against the formula, for a few thousand tokens."""
    q, k, v = heads(sizes, min(4096, video_tokens(sizes)), dtype, device)
    return deviation(kernel(q, k, v), eager(q.float(), k.float(), v.float()), bound)


def kernel_time(kernel: Kernel, sizes: Sizes, device: torch.device) -> Facts:
    """Seconds of a kernel for one block's tokens of a whole video with guidance, and its arithmetic per second."""
    q, k, v = heads(sizes, video_tokens(sizes), torch.bfloat16, device, batch=2)
    kernel(q, k, v)
    times = 5
    facts = executed(once(lambda: [kernel(q, k, v) for _ in range(times)]), device)
    seconds = facts["seconds"] / times
    flop = 4 * q.shape[0] * q.shape[1] * q.shape[2] ** 2 * q.shape[3]  # two products, each of 2 L L D
    return {"seconds": seconds, "tflop_per_second": flop / seconds / 1e12}


def heads(sizes: Sizes, tokens: int, dtype: torch.dtype, device: torch.device, *, batch: int = 1) -> list[Tensor]:
    """Random queries, keys and values, (B, H, L, D) each."""
    rng = torch.Generator(device).manual_seed(0)
    shape = batch, sizes.transformer.heads, tokens, sizes.transformer.head_dim
    return [torch.randn(shape, generator=rng, device=device).to(dtype) for _ in range(3)]


def video_tokens(sizes: Sizes) -> int:
    """Tokens of text and video together."""
    frames, _, height, width = sizes.latents
    return sizes.transformer.text_length + sizes.transformer.grid(frames, height, width).tokens


def run_tests(device: torch.device) -> Facts:
    """Run the tests of the test suite that use a GPU."""
    if device.type != "cuda":
        raise UserError("there is no GPU here")
    for module in ("pytest", "hypothesis"):
        import_module(module)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CUDA_TESTS], cwd=ROOT)
    return {"within": done.returncode == 0}
