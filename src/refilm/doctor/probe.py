"""How fast a device computes: a short probe of the two operations that take most of a transformer's time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

WIDTH, HEADS = 1920, 30  # of CogVideoX-2B
ROWS, TOKENS = {"cpu": 256, "cuda": 16384}, {"cpu": 512, "cuda": 8192}
SECONDS = 0.2


@dataclass(frozen=True)
class Rates:
    """Floating-point operations per second."""

    product: float
    """In a product of matrices."""
    attention: float


def measure(device: torch.device, dtype: torch.dtype) -> Rates:
    """Measure a device for about half a second."""
    rows, tokens = ROWS.get(device.type, 1024), TOKENS.get(device.type, 1024)
    x = torch.randn(rows, WIDTH, device=device, dtype=dtype)
    weight = torch.randn(4 * WIDTH, WIDTH, device=device, dtype=dtype)
    q = torch.randn(1, HEADS, tokens, WIDTH // HEADS, device=device, dtype=dtype)
    with torch.inference_mode():
        product = _per_second(lambda: F.linear(x, weight), device)
        attention = _per_second(lambda: F.scaled_dot_product_attention(q, q, q), device)
    return Rates(2 * rows * 4 * WIDTH**2 * product, 4 * tokens**2 * WIDTH * attention)


def _per_second(run: Callable[[], object], device: torch.device) -> float:
    """How often `run` can run in a second, after a first time."""

    def wait() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    run()
    start, count = wait(), 0
    while True:
        run()
        count += 1
        if (passed := wait() - start) > SECONDS:
            return count / passed
