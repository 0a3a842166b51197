"""Seconds and memory of loading CogVideoX-2B, from both formats that users have.

    python benchmarks/checkpoints.py [--folder /tmp]

Writes a full-size checkpoint with random bfloat16 weights into a temporary folder (twice 3.4 GB, removed at the end):
as diffusers' sharded files and as a SAT file. Loads each in fresh processes, and writes
benchmarks/results/checkpoints.json, or `--out`. Peak memory is the growth of the process, including memory-mapped
files, from before loading to its peak.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from record import RESULTS, add_out, target, write

from refilm.backbones.cogvideox import sizes
from refilm.backbones.cogvideox.sat import save_sat
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.checkpoints import load_denoiser, save_transformer

RESULT = RESULTS / "checkpoints.json"
LOADS = [("diffusers", None), ("diffusers", "float16"), ("diffusers", "float32"), ("sat", None), ("sat", "float16")]


def parameters(size: sizes.TransformerSize) -> int:
    """Number of parameters of a transformer of that size."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in Transformer(size).parameters())


@torch.no_grad()
def random_model(size: sizes.TransformerSize) -> Transformer:
    """Random weights, each from another place of one pool of noise: sampling all of them would take minutes."""
    with torch.device("meta"):
        model = Transformer(size).bfloat16()
    model.to_empty(device="cpu")
    pool = (torch.randn(1 << 24, generator=torch.Generator().manual_seed(0)) * 0.02).bfloat16()
    for index, weight in enumerate(model.parameters()):
        start = 7919 * index % (len(pool) - weight.numel())
        weight.copy_(pool[start : start + weight.numel()].view_as(weight))
    return model


def memory(field: str) -> int:
    """A field of /proc/self/status of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status: no {field}; this benchmark needs Linux")


def measure(source: str, dtype: str | None) -> dict[str, float]:
    """Load a checkpoint in this process and measure it."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, started = memory("VmRSS"), time.perf_counter()
    transformer = load_denoiser(source, dtype=None if dtype is None else getattr(torch, dtype)).transformer
    seconds = time.perf_counter() - started
    weights = sum(weight.nbytes for weight in transformer.parameters())
    grown = memory("VmHWM") - before
    return {
        "seconds": round(seconds, 2),
        "parameters": sum(weight.numel() for weight in transformer.parameters()),
        "weight_bytes": weights,
        "peak_bytes": grown,
        "peak_to_weights": round(grown / weights, 4),
    }


def in_fresh_process(source: Path, dtype: str | None) -> dict[str, float]:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, "--measure", str(source), *([] if dtype is None else ["--dtype", dtype])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None, help="Where to create the temporary folder. Default: the system's.")
    parser.add_argument("--measure", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default=None, help=argparse.SUPPRESS)
    add_out(parser, RESULT)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure, options.dtype)))
        return
    out = target(parser, options.out, RESULT)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folders = {"diffusers": Path(temporary) / "diffusers", "sat": Path(temporary) / "sat"}
        model = random_model(sizes.cogvideox_2b())
        save_transformer(model, folders["diffusers"], max_shard_size="1GB")
        save_sat(folders["sat"], model)
        del model
        shards = len(list(folders["diffusers"].glob("*.safetensors")))
        loads = [
            {
                "format": kind,
                "stored": "bfloat16",
                "asked": dtype or "bfloat16",
                **in_fresh_process(folders[kind], dtype),
            }
            for kind, dtype in LOADS
        ]
    result = {
        "threads": torch.get_num_threads(),
        "parameters_2b": parameters(sizes.cogvideox_2b()),
        "parameters_5b": parameters(sizes.cogvideox_5b()),
        "diffusers_shards": shards,
        "loads": loads,
    }
    write(out, result)


if __name__ == "__main__":
    main()
