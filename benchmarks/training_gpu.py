"""Seconds and peak memory of a training step of CogVideoX-2B's size on a GPU.

    python benchmarks/training_gpu.py

Trains an adapter at 49 x 480 x 720, batch 1, with random weights and a cache of random encodings: refilm's own steps,
from reading the cache to updating the weights. Every case runs in a separate process. Writes
benchmarks/results/training_gpu.json, or `--out`: `peak_gb` is torch's peak of allocated memory in 10^9 bytes,
`reserved_gb` the memory that its allocator reserved. Compilation happens in warm-up steps that do not count.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from record import RESULTS, add_out, target, write
from torch import Tensor

from refilm.backbones.cogvideox import sizes
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.data.encoding import EncodedSet, EncoderIdentity, EncodeSettings, Entry
from refilm.data.encoding.index import write_index
from refilm.data.encoding.keys import digest
from refilm.data.encoding.shards import KINDS, read_shards, write_shard
from refilm.diffusion import scaled_linear
from refilm.geometry import AdapterSize
from refilm.model import Adapter
from refilm.training.engine.step import Trainer
from refilm.training.settings import ClipLesson, DiffusionSettings, OptimizerSettings, StepSettings, TrainSettings
from refilm.training.tasks.diffusion import DiffusionTask

RESULT = RESULTS / "training_gpu.json"
TARGETS = {"seconds_per_step": 1.0, "peak_gb": 16.0}
LATENTS, TOKENS = (13, 60, 90), 257  # latent frames, height and width; tokens of the image
CLIPS = 4
FULL = {"checkpointing": "full", "base_dtype": "int8"}
CASES: dict[str, dict[str, Any]] = {
    "none": {},
    "none, compiled": {"compile": True},
    "selective": {"checkpointing": "selective"},
    "selective, compiled": {"checkpointing": "selective", "compile": True},
    "full": {"checkpointing": "full"},
    "full, base in 8 bits": FULL,
    "full, base and moments in 8 bits, no average": FULL | {"optimizer": "adamw8bit", "ema": 0.0},
}


def write_cache(folder: Path, size: TransformerSize, latents: tuple[int, int, int]) -> None:
    """Write a few clips of random encodings in the format of `refilm data encode`."""
    frames, height, width = latents
    rng = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng).half()

    folder.mkdir(parents=True, exist_ok=True)
    keys = {kind: [digest(kind, clip) for clip in range(CLIPS)] for kind in KINDS}
    rows = {
        "latents": {
            "mean": noise(CLIPS, frames, size.channels, height, width),
            "logvar": noise(CLIPS, frames, size.channels, height, width) - 4,
        },
        "text": {"text": noise(CLIPS, size.text_length, size.text_dim)},
        "references": {"references": noise(CLIPS, 1, TOKENS, AdapterSize.of(size).reference_dim)},
    }
    for kind in KINDS:
        write_shard(folder, kind, keys[kind], rows[kind])
    parts = zip(keys["latents"], keys["text"], keys["references"], strict=True)
    entries = [Entry(f"{key}.mp4", ("noise",), None, key, key, (text,), (seen,)) for key, text, seen in parts]
    encoders = EncoderIdentity("none", "none", "none")
    write_index(folder, entries, read_shards(folder), settings=EncodeSettings(), encoders=encoders)


@torch.no_grad()
def random_model(size: TransformerSize, device: torch.device) -> Transformer:
    """A model with random bfloat16 weights, scaled so that activations stay in range."""
    with torch.device("meta"):
        model = Transformer(size).bfloat16()
    model.to_empty(device=device)
    for name, weight in model.named_parameters():
        weight.fill_(1.0) if weight.ndim == 1 and name.endswith("weight") else weight.normal_(std=0.02)
    return model


def measure(case: dict[str, Any], cache: Path, size: TransformerSize, *, device: torch.device, steps: int) -> dict:
    """Measure one case in this process."""
    torch.manual_seed(0)
    clips = EncodedSet(cache)
    optimizer = OptimizerSettings(kind=case.get("optimizer", "adamw"), ema=case.get("ema", 0.999), warm_up=0)
    task = DiffusionTask(
        DiffusionSettings(
            curriculum=(ClipLesson(until=1, batch=1),),
            checkpointing=case.get("checkpointing", "none"),
            compile=case.get("compile", False),
        ),
        random_model(size, device),
        scaled_linear(snr_shift=3.0),
        adapter=Adapter(AdapterSize.of(size)),
        train=clips,
        held_out=clips,
        training=TrainSettings(base_dtype=case.get("base_dtype", "bf16")),
    )
    trainer = Trainer(task, StepSettings(steps=10**6, precision="bf16", optimizer=optimizer))
    for _ in range(2):
        trainer.advance()  # reads the loss, which waits for the GPU
    synchronize(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        trainer.advance()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    result: dict[str, Any] = {"seconds": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
    if device.type == "cuda":
        result["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        result["reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
    return result


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def in_fresh_process(name: str, cache: Path, steps: int) -> dict[str, Any]:
    """`measure` in a fresh process; if it fails, the last line of its error."""
    command = [sys.executable, __file__, "--case", name, "--cache", str(cache), "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["no output"]
    return json.loads(lines[-1]) if done.returncode == 0 else {"failed": lines[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="Measured steps. Default: %(default)s.")
    parser.add_argument("--case", choices=CASES, help="Run one case in this process and only print its figures.")
    parser.add_argument("--cache", type=Path, help="Cache for --case; written if it does not exist.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = None if options.case else target(parser, options.out, RESULT)
    if not torch.cuda.is_available():
        parser.exit(2, "error: this benchmark needs a GPU, and torch finds none here\n")
    size = sizes.cogvideox_2b()
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary) / "cache"
        if not (cache / "index.json").is_file():
            write_cache(cache, size, LATENTS)
        if out is None:
            device = torch.device("cuda")
            print(json.dumps(measure(CASES[options.case], cache, size, device=device, steps=options.steps)))
            return
        result = {}
        for name in CASES:
            result[name] = in_fresh_process(name, cache, options.steps)
            print(name, json.dumps(result[name]), flush=True)
    setup = {"model": "CogVideoX-2B", "latents": LATENTS, "batch": 1, "targets": TARGETS}
    write(out, {**setup, "steps": options.steps, "cases": result})


if __name__ == "__main__":
    main()
