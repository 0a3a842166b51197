"""The state of two processes with sharded weights (FSDP2): saved by both, resumed by both or by one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from refilm.training.checkpoint.checkpoints import load_checkpoint
from refilm.training.checkpoint.sharded import put_together, take_apart


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left, each of which found its part well."""
    folder = tmp_path_factory.mktemp("two")
    torchrun = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run([*torchrun, script, folder], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return folder


def test_one_process_loads_whole_what_two_wrote_in_shards(folder):
    path = folder / "sharded" / "step-00000003"
    manifest = json.loads((path / "manifest.json").read_text())
    shards = [name for name in manifest["files"] if name.startswith("shards/") and name.endswith(".safetensors")]
    assert manifest["processes"] == len(shards) == 2
    assert not any(b"pickle" in (path / name).read_bytes() for name in shards)
    whole = torch.load(folder / "sharded" / "whole.pt", weights_only=True)
    loaded = load_checkpoint(path)
    assert loaded["step"] == 3
    for name, weight in whole["weights"].items():
        assert torch.equal(loaded["weights"][name], weight)
    for index, moments in whole["optimizers"][0]["state"].items():
        for kind, value in moments.items():
            assert torch.equal(loaded["optimizers"][0]["state"][index][kind], value)
    assert loaded["optimizers"][0]["param_groups"][0]["lr"] == whole["optimizers"][0]["param_groups"][0]["lr"]


def test_a_shard_that_is_lost_is_noticed(folder, tmp_path):
    path = folder / "sharded" / "step-00000003"
    (lost, *_) = sorted((path / "shards").iterdir())
    lost.rename(tmp_path / "lost")
    try:
        with pytest.raises(ValueError, match=f"{lost.name}: is damaged, No such file"):
            load_checkpoint(path)
    finally:
        os.rename(tmp_path / "lost", lost)


def test_plain_values_keep_their_places():
    state = {"step": 3, "optimizers": [{"betas": (0.9, 0.99), 0: None}], "weights": {"w": torch.ones(2)}}
    plain, sharded = take_apart(state)
    assert (plain, sharded) == (state, {})
    assert put_together(plain, {"weights/w": torch.zeros(2)})["weights"]["w"].tolist() == [0, 0]
