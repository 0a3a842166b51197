"""Reading tensors: they are in memory only once, for every dtype; files are read completely or not at all."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from refilm.backbones.cogvideox import sizes
from refilm.backbones.cogvideox.sat import save_sat
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.checkpoints import save_transformer
from refilm.weights.files import weight_files
from refilm.weights.tensors import Piece, TensorFiles, is_finite

MEASURE = """
import json, sys, torch
from refilm.checkpoints import load_denoiser
def memory(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) * 1024
before = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
model = load_denoiser(sys.argv[1], dtype=getattr(torch, sys.argv[2])).transformer
print(json.dumps([memory("VmHWM") - before, sum(weight.nbytes for weight in model.parameters())]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize("asked", ["float32", "float16", "bfloat16"])
def test_loading_needs_little_more_memory_than_the_weights(tmp_path, stored, asked):
    """At a size where each tensor is as small a part of the total as in the real model."""
    model = Transformer(replace(sizes.cogvideox_2b(), layers=24, heads=8, text_dim=512)).to(getattr(torch, stored))
    save_transformer(model, tmp_path / "diffusers", max_shard_size="100MB")
    save_sat(tmp_path / "sat", model)
    for kind in ("diffusers", "sat"):
        command = [sys.executable, "-c", MEASURE, str(tmp_path / kind), asked]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, weights = json.loads(done.stdout)
        assert peak < 1.1 * weights + 48 * 2**20  # a fault maps 64 KB around it: at this size that is much


def test_pieces_are_put_together_in_any_dtype(tmp_path):
    a, b = torch.randn(6, 4), torch.randn(3, 4)
    save_file({"a": a, "b": b}, tmp_path / "x.safetensors")
    pieces = (Piece("a", 1, 2), Piece("b"), Piece("a", 0, 2))
    for dtype in (None, torch.float32, torch.float16, torch.bfloat16):
        files = TensorFiles([tmp_path / "x.safetensors"])
        expected = torch.cat([a[3:], b, a[:3]]).to(dtype)
        for _ in range(2):  # what was given back is read again
            assert torch.equal(files.read(pieces, dtype=dtype, device="cpu"), expected)
            assert torch.equal(files.read((Piece("a"),), dtype=dtype, device="cpu"), a.to(dtype))


def test_numbers_and_others():
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        values = torch.zeros(5000, dtype=dtype)
        assert is_finite(values)
        assert is_finite(values[:0])
        for value in (float("nan"), float("inf"), float("-inf")):
            values[4321] = value
            assert not is_finite(values)


def test_safetensors_come_first(tmp_path):
    assert weight_files(tmp_path, "model", "old") == [tmp_path / "model.safetensors"]
    (tmp_path / "old.bin").write_bytes(b"")
    assert weight_files(tmp_path, "model", "old") == [tmp_path / "old.bin"]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "b", "y": "a", "z": "b"}}))
    assert weight_files(tmp_path, "model", "old") == [tmp_path / "a", tmp_path / "b"]
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert weight_files(tmp_path, "model", "old") == [tmp_path / "model.safetensors"]
