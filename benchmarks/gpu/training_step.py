"""Steps of adapter training at batch 1, in each activation checkpointing mode, on a base in bfloat16 and in 8 bits.

`training_gpu.py` describes the step and its figures, and measures more cases, each in a process of its own.
"""

import tempfile
from functools import partial
from pathlib import Path

import training_gpu

from gpu.models import sizes_for
from gpu.part import Run

CASES = {
    "full, int8": {"checkpointing": "full", "base_dtype": "int8"},
    "selective, bf16": {"checkpointing": "selective", "base_dtype": "bf16"},
    "none, bf16": {"checkpointing": "none", "base_dtype": "bf16"},
    "full, bf16": {"checkpointing": "full", "base_dtype": "bf16"},
    "selective, int8": {"checkpointing": "selective", "base_dtype": "int8"},
    "selective, bf16, blocks compiled": {"checkpointing": "selective", "base_dtype": "bf16", "compile": True},
    "none, int8": {"checkpointing": "none", "base_dtype": "int8"},
}
"""Most important first."""


def measure(run: Run) -> None:
    """Seconds and memory of a step in each case."""
    sizes = sizes_for(tiny=run.tiny)
    frames, _, height, width = sizes.latents
    with tempfile.TemporaryDirectory() as folder:
        cache, size = Path(folder) / "cache", sizes.transformer
        training_gpu.write_cache(cache, size, (frames, height, width))
        for name, case in CASES.items():
            if case.get("compile") and run.compiler != "inductor":
                continue
            run.attempt(name, partial(training_gpu.measure, case, cache, size, device=run.device, steps=3))
