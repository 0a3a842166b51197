"""The training loop: one generator for all tasks; the caller shows progress and can stop it.

Independent of what is trained: a `Trainable` provides the weights and the loss of a step.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Annotated

from pydantic import Field

from refilm.training.checkpoint.checkpoints import load_checkpoint, save_checkpoint, set_aside, starting_point
from refilm.training.checkpoint.sharded import mesh_of
from refilm.training.distributed.consensus import highest
from refilm.training.distributed.parallel import place
from refilm.training.engine.signals import Stop, Stopped, stoppable
from refilm.training.engine.step import Trainable, Trainer
from refilm.training.settings import LoopSettings

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Findings:
    """Result of a validation."""

    scores: dict[str, float] = field(default_factory=dict)
    videos: tuple[Path, ...] = ()
    words: str = ""
    """What the scores mean, in a sentence."""
    enough: bool = False
    """Whether the run ends here."""


@dataclass(frozen=True)
class Progress:
    """A finished training step."""

    step: int
    steps: int
    loss: float
    seconds: float
    samples: int = 0
    """Samples of this step, over all processes together."""
    details: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    videos: tuple[Path, ...] = ()
    words: str = ""


def make_trainer(task: Trainable, settings: LoopSettings, folder: Path, *, resume: bool | Path = False) -> Trainer:
    """Create the trainer of `task` at the start of a run: at step 0 or at a checkpoint. Writes nothing.

    Raises:
        UserError: `resume` without a checkpoint, or with one that is damaged or belongs to another kind of run; no
            `resume`, but `folder` contains checkpoints.
    """
    checkpoint = starting_point(folder, resume)
    run = Trainer(task, settings)
    if checkpoint is not None:
        run.load_state(load_checkpoint(checkpoint, mesh=mesh_of(run.state())))
    return run


def fit(
    task: Trainable,
    settings: LoopSettings,
    folder: Path,
    *,
    resume: bool | Path = False,
    run: Trainer | None = None,
    validate: Callable[[int], Findings] | None = None,
    stop: Stop | None = None,
) -> Iterator[Progress | Stopped]:
    """Train `task`, yielding after every step; at the end the task has the averaged weights.

    SIGTERM, SIGHUP or Ctrl-C in any process stops all of them after the same step, and so does a validation with
    `enough` set: the step is saved, and `Stopped` is the last event. A second Ctrl-C raises KeyboardInterrupt.

    Args:
        task: what is trained.
        settings: length, saving and validation.
        folder: for checkpoints.
        resume: a checkpoint to resume from; True: the newest in `folder`.
        run: the result of `make_trainer` for the same arguments; None: call it here.
        validate: called with the step number at each validation, with the averaged weights in place; by the first
            process, or by all if the weights are sharded. None: the task's own validation.
        stop: from `stoppable`, if the caller handles signals; None: signals are handled here.

    Raises:
        UserError: `resume` without a checkpoint or with a damaged one; no `resume`, but `folder` has checkpoints.
        NotFiniteError: a loss is not finite; the last checkpoint is kept.
        OSError: a checkpoint could not be written; those before it are kept.
    """
    validate = validate or (lambda step: Findings(task.validate()))
    run, first = run or make_trainer(task, settings, folder, resume=resume), place().first
    set_aside(folder, after=run.step)
    with stoppable() if stop is None else nullcontext(stop) as stop:
        started = time.perf_counter()
        while run.step < settings.steps:
            samples, found, enough = len(task.samples(run.step)), Findings(), 0
            details = run.advance()
            received, last = highest(stop.received), run.step == settings.steps
            if not received and (last or run.step % settings.validate_every == 0):
                run.check_frozen()
                with run.averaged():
                    found = validate(run.step) if first or run.sharded else found
                enough = not last and highest(found.enough)
            seconds, result = time.perf_counter() - started, (found.scores, found.videos, found.words)
            yield Progress(run.step, settings.steps, details.pop("loss"), seconds, samples, details, *result)
            started = time.perf_counter()
            # saved after the event: every saved step has been reported
            if received or enough or last or run.step % settings.save_every == 0:
                save_checkpoint(folder, run.step, run.state(), keep=settings.keep)
            if received:
                yield Stopped(run.step, signal=Signals(received))
                return
            if enough:
                yield Stopped(run.step, reason=found.words)
                return
    run.take_average()
    run.check_frozen()  # the caller saves them next
