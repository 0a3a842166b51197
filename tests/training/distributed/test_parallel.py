"""Two processes learn what one does, from the same samples: with DDP an adapter, with FSDP2 a whole transformer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from refilm.training.checkpoint.checkpoints import load_checkpoint
from refilm.training.engine.step import Trainer

from ..tiny_task import in_float64, steps, task
from .processes import CASES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder in which two processes have left what they found."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.training.distributed.processes", folder],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder


def alone(case):
    """The task, its run in one process, the metrics of five steps, and the weights before them."""
    settings, of_steps = CASES[case]
    made = in_float64(task(**settings))
    run = Trainer(made, steps(**of_steps | {"accumulate": 1, "shard": False}))
    before = {name: p.detach().clone() for name, p in made.module.named_parameters()}
    return made, run, [run.advance() for _ in range(5)], before


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(together, case):
    made, run, told, before = alone(case)
    found = [json.loads((together / f"{case}-{rank}.json").read_text()) for rank in range(2)]
    assert found[0]["told"] == found[1]["told"]
    for one, two in zip(told, found[0]["told"], strict=True):
        assert abs(one["loss"] - two["loss"]) < 1e-5
        assert abs(one["gradient_norm"] - two["gradient_norm"]) < 1e-4 * one["gradient_norm"]
    with run.averaged(), torch.no_grad():
        validated = made.losses(made.draw(made.stream, 9, made.samples(9)))
    assert torch.allclose(validated, torch.tensor(found[0]["validated"], dtype=torch.float64), rtol=1e-6)
    run.take_average()
    weights = torch.load(together / f"{case}-weights.pt", weights_only=True)
    assert weights.keys() == dict(made.module.named_parameters()).keys()
    for name, parameter in made.module.named_parameters():
        if not name.endswith("key_norm.bias"):  # no weight of the softmax changes with it: rounding alone moves it
            assert (parameter - weights[name]).norm() <= 1e-6 * (parameter - before[name]).norm(), name


@pytest.mark.parametrize("case", CASES)
def test_two_processes_take_the_very_samples_that_one_takes(together, case):
    made = task(**CASES[case][0])
    taken = [json.loads((together / f"{case}-{rank}.json").read_text())["taken"] for rank in range(2)]
    for step in range(5):
        samples = made.samples(step)
        wanted = [
            [n, d.clip, d.timestep, d.drop]
            for n, d in zip(samples, made.stream.sample_draws(step, samples), strict=True)
        ]
        parts = [part for process in taken for part in process[2 * step : 2 * step + 2]]
        assert sorted(len(part) for part in parts) == [1, 1, 1, 2]
        assert sorted(row for part in parts for row in part) == wanted


def test_one_process_resumes_a_run_of_two(together):
    for case in CASES:
        told = alone(case)[2]
        run = Trainer(in_float64(task(**CASES[case][0])), steps())
        run.load_state(load_checkpoint(together / case))
        assert run.step == 3
        for one, two in zip(told[3:], [run.advance(), run.advance()], strict=True):
            assert abs(one["loss"] - two["loss"]) < 1e-5
