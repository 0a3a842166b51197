"""What one of two processes does in `test_parallel`: `torchrun ... -m tests.training.distributed.processes FOLDER`."""

import json
import sys
from pathlib import Path

import torch

from refilm.training.checkpoint.checkpoints import save_checkpoint
from refilm.training.distributed.parallel import joined
from refilm.training.engine.step import Trainer
from refilm.training.settings import TrainSettings

from ..tiny_task import in_float64, steps, task

WHOLE = TrainSettings(what="all")
CASES = {
    "adapter": ({"batch": 5}, {"accumulate": 2}),  # parts of 2, 1, 1 and 1
    "whole": ({"batch": 5, "training": WHOLE}, {"shard": True, "accumulate": 2}),
}


def course(case: str, folder: Path) -> dict:
    """Five steps, with a save after three; their metrics and the samples of this process."""
    settings, of_steps = CASES[case]
    made = in_float64(task(**settings))
    taken: list[list] = []
    loss = made.loss

    def noted(step, samples):
        drawn = made.stream.sample_draws(step, samples)
        taken.append([[n, one.clip, one.timestep, one.drop] for n, one in zip(samples, drawn, strict=True)])
        return loss(step, samples)

    made.loss = noted
    run = Trainer(made, steps(**of_steps))
    told = []
    for step in range(5):
        told.append(run.advance())
        if step == 2:
            save_checkpoint(folder, run.step, run.state())
    with run.averaged(), torch.no_grad():
        batch = made.draw(made.stream, 9, made.samples(9))
        validated = made.losses(batch).tolist()
    run.take_average()
    plain = {name: p.detach() for name, p in made.module.named_parameters()}
    return {"told": told, "taken": taken, "validated": validated, "weights": plain}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined() as here:
        for case in CASES:
            (folder / case).mkdir(exist_ok=True)
            found = course(case, folder / case)
            weights = found.pop("weights")
            (folder / f"{case}-{here.rank}.json").write_text(json.dumps(found))
            if here.first:
                torch.save(weights, folder / f"{case}-weights.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
