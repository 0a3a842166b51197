"""A run that is killed many times, half of them during a save, ends bit for bit like a run that was never killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from refilm.training.checkpoint.checkpoints import load_checkpoint

from ..tiny_recipe import write_recipe

STEPS = 40
SETTINGS = [
    f"loop.steps={STEPS}",
    "loop.save_every=3",
    "diffusion.curriculum=[{until=15, latent_frames=1, batch=4}, {until=500, latent_frames=2, batch=2}]",
]
CALLS = ("mkdir", "open for writing", "write", "half a write", "fsync", "open", "rename", "unlink", "rmdir")


class Runs:
    """Training runs in one folder each, forked from a process that reads orders."""

    def __init__(self, recipe: Path, folder: Path):
        command = [sys.executable, Path(__file__).with_name("forked_runs.py"), recipe, *SETTINGS]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # threads do not survive a fork
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        )
        assert self.read() == ["ready"]

    def start(self, folder: Path, *, pause: tuple[str, int] | None = None) -> int:
        """Start or resume a run; returns its process id."""
        order = {"folder": str(folder / "run"), "log": str(folder / "log"), "pause": pause}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.read_until("forked")[-1])

    def read(self) -> list[str]:
        return self.process.stdout.readline().split()

    def read_until(self, *kinds: str) -> list[str]:
        while (words := self.read())[0] not in kinds:
            pass
        return words

    def finish(self, folder: Path) -> str:
        """Run to the end; returns the digest of the weights."""
        self.start(folder)
        digest = self.read_until("weights")[1]
        assert self.read() == ["ended", "0"]
        return digest


@pytest.fixture
def runs(tiny_base, tmp_path):
    recipe = write_recipe(tmp_path / "tiny.toml", base=tiny_base, cache=tmp_path / "cache")
    runs = Runs(recipe, tmp_path)
    yield runs
    runs.process.kill()
    runs.process.communicate()


@pytest.mark.parametrize("kills", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_moment_ends_like_one_that_was_not(runs, tmp_path, kills):
    (whole := tmp_path / "whole").mkdir()
    digest = runs.finish(whole)
    losses = dict(line.split() for line in (whole / "log").read_text().splitlines())
    assert list(losses) == [str(step) for step in range(1, STEPS + 1)]

    rng, during, others, number = random.Random(0), 0, 0, 0
    while during + others < kills:
        (broken := tmp_path / f"broken-{(number := number + 1)}").mkdir()
        alive = True
        while alive and during + others < kills:
            if during <= others:
                which = CALLS[during % len(CALLS)]
                alive = killed_during_a_save(runs, broken, which, rng.randint(1, 40 if "write" in which else 2))
                during += alive
            else:
                alive = killed_after_steps(runs, broken, rng.randint(0, 7), delay=rng.uniform(0, 0.05))
                others += alive
        assert runs.finish(broken) == digest
        log = [line.split() for line in (broken / "log").read_text().splitlines()]
        assert all(losses[step] == loss for step, loss in log)
        assert {step for step, _ in log} == set(losses)
        assert_same(load_checkpoint(whole / "run"), load_checkpoint(broken / "run"))
    assert during >= kills / 2


def killed_during_a_save(runs, folder, call, number):
    """Whether the run reached that call and was killed there."""
    pid = runs.start(folder, pause=(call, number))
    line = runs.read_until("paused", "ended")
    if line[0] == "ended":
        assert line == ["ended", "0"]
        return False
    os.kill(pid, signal.SIGKILL)
    assert runs.read() == ["ended", "-9"]
    return True


def killed_after_steps(runs, folder, steps, *, delay):
    """Whether the run was killed before its end, `delay` seconds after a step."""
    pid = runs.start(folder)
    for _ in range(steps):
        if runs.read_until("step", "ended")[0] == "ended":
            return False
    time.sleep(delay)
    with suppress(ProcessLookupError):  # it has ended by now
        os.kill(pid, signal.SIGKILL)
    return runs.read_until("ended") == ["ended", "-9"]


def assert_same(one, other, path=""):
    assert type(one) is type(other), path
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{path}/{index}")
    else:
        assert one == other, path
