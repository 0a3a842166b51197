"""The training loop: one generator for every kind of training; the caller owns progress and cancellation.

Knows nothing of what is trained: a `Task` gives the weights and the loss of a step.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from refilm.training.parallel import place
from refilm.training.resume import load_checkpoint, save_checkpoint
from refilm.training.step import StepSettings, Task, Trainer


class LoopSettings(StepSettings):
    """The course of a run."""

    save_every: int = 500
    """Steps between checkpoints."""
    validate_every: int = 500
    """Steps between validations."""
    keep: int = 2
    """Checkpoints that are kept."""


@dataclass(frozen=True)
class Progress:
    """One step of a run, done."""

    step: int
    steps: int
    loss: float
    seconds: float
    details: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


def fit(task: Task, settings: LoopSettings, folder: Path, *, resume: bool = False) -> Iterator[Progress]:
    """Train `task`, yielding after every step; leaves the averaged weights in the task at the end.

    Raises:
        ValueError: `resume` without a checkpoint in `folder`.
        FloatingPointError: a loss that is not finite; the last checkpoint stays as it was.
    """
    run, first = Trainer(task, settings), place().first
    if resume:
        run.load_state(load_checkpoint(folder))
    while run.step < settings.steps:
        started = time.perf_counter()
        details = run.advance()
        scores = {}
        if run.step % settings.validate_every == 0 or run.step == settings.steps:
            with run.averaged():
                scores = task.validate() if first or run.sharded else {}  # spread weights need all
        if first and (run.step % settings.save_every == 0 or run.step == settings.steps):
            save_checkpoint(folder, run.step, run.state(), keep=settings.keep)
        yield Progress(run.step, settings.steps, details.pop("loss"), time.perf_counter() - started, details, scores)
    run.take_average()
