"""The precision of matrix products: a recipe's setting, and what a device supports in hardware."""

from functools import cache

import torch

from refilm.training.settings import Precision

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of matrix products on a device."""
    if precision == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device.type) else torch.float32
    return DTYPES[precision]


def products_in(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """Within the context matrix products have a dtype (autocast), unless it is float32 or larger."""
    return torch.autocast(device.type, dtype, enabled=dtype.itemsize < 4)


@cache
def multiplies_bfloat16(kind: str) -> bool:
    """Whether a kind of device has instructions for bfloat16; a CPU without them emulates it."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return True
