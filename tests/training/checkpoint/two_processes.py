"""What two processes do together, for test_sharded.py: torchrun starts it with a folder; each asserts its part."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, init_device_mesh

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from test_loop import SETTINGS, Regression

from refilm.training.checkpoint.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from refilm.training.checkpoint.sharded import mesh_of
from refilm.training.engine.loop import fit
from refilm.training.engine.signals import Stopped


class Sharded:
    """A module spread over the processes, with its optimizer."""

    def __init__(self):
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 1))  # rows that do not share evenly, and one alone
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in (*self.module, self.module):
            fully_shard(layer, mesh=mesh)
        self.optimizer = torch.optim.AdamW(self.module.parameters())

    def steps(self, numbers):
        for number in numbers:
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(number + 100 * dist.get_rank()))
            self.module(x).square().sum().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def state(self, step):
        weights = {name: p.detach() for name, p in self.module.named_parameters()}
        return {"step": step, "weights": weights, "optimizers": [self.optimizer.state_dict()]}

    def load_state(self, state):
        for name, p in self.module.named_parameters():
            p.detach().copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizers"][0])


def whole(tree):
    """A state with every tensor gathered."""
    if isinstance(tree, DTensor):
        return tree.full_tensor()
    if isinstance(tree, dict):
        return {key: whole(value) for key, value in tree.items()}
    return [whole(value) for value in tree] if isinstance(tree, list | tuple) else tree


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def goes_on_to_the_same_bits(folder: Path) -> None:
    unbroken, resumed = Sharded(), Sharded()
    unbroken.steps(range(3))
    save_checkpoint(folder, 3, unbroken.state(3))
    if (state := whole(unbroken.state(3))) and dist.get_rank() == 0:
        torch.save(state, folder / "whole.pt")
    unbroken.steps(range(3, 6))
    state = load_checkpoint(folder, mesh=mesh_of(resumed.state(0)))
    resumed.load_state(state)
    resumed.steps(range(state["step"], 6))
    assert same(whole(unbroken.state(6)), whole(resumed.state(6)))


def fails_for_all_when_it_fails_for_one(folder: Path) -> None:
    real = os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    for failing in (0, 1):
        os.fsync = full if dist.get_rank() == failing else real
        with pytest.raises(OSError, match="the checkpoint of step 6 is not saved"):
            save_checkpoint(folder, 6, Sharded().state(6))
        os.fsync = real
        dist.barrier()
        assert [path.name for path in checkpoints(folder)] == ["step-00000003"]
        assert not list(folder.glob(".*"))
        dist.barrier()


def stops_after_the_same_step(folder: Path) -> None:
    events = []
    for event in fit(Regression(), SETTINGS, folder):
        events.append(event)
        if event.step == 4 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
    *steps, stopped = events
    assert stopped == Stopped(5, signal=signal.SIGTERM)
    assert [progress.step for progress in steps] == [1, 2, 3, 4, 5]
    assert load_checkpoint(folder)["step"] == 5


if __name__ == "__main__":
    dist.init_process_group("gloo")
    goes_on_to_the_same_bits(Path(sys.argv[1]) / "sharded")
    fails_for_all_when_it_fails_for_one(Path(sys.argv[1]) / "sharded")
    stops_after_the_same_step(Path(sys.argv[1]) / "stopped")
    dist.barrier()
    os._exit(0)  # gloo's threads may come upon the interpreter's end and abort it (pytorch pull request 179291)
