"""The training loop: one generator for every kind of training; the caller owns progress and cancellation.

Knows nothing of what is trained: a `Trainable` gives the weights and the loss of a step.
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
from refilm.training.distributed.heartbeats import GIVE_UP_AFTER, SILENT_AFTER
from refilm.training.distributed.parallel import place
from refilm.training.engine.signals import Stop, Stopped, stoppable
from refilm.training.engine.step import StepSettings, Trainable, Trainer

Positive = Annotated[int, Field(ge=1)]


class LoopSettings(StepSettings):
    """The course of a run."""

    save_every: Positive = 500
    """Steps between checkpoints."""
    validate_every: Positive = 500
    """Steps between validations."""
    keep: Positive = 2
    """Checkpoints that are kept."""
    silent_after: float = Field(default=SILENT_AFTER, gt=0, le=10**6)
    """Seconds without a sign of life from one of several processes after which the others say whom they wait for."""
    give_up_after: float = Field(default=GIVE_UP_AFTER, gt=0, le=10**6)
    """Seconds without one after which they end, rather than wait on; the last checkpoint is kept."""


@dataclass(frozen=True)
class Findings:
    """What a look at the weights found."""

    scores: dict[str, float] = field(default_factory=dict)
    videos: tuple[Path, ...] = ()
    words: str = ""
    """What the scores mean, for people."""
    enough: bool = False
    """Whether the run shall end here."""


@dataclass(frozen=True)
class Progress:
    """One step of a run, done."""

    step: int
    steps: int
    loss: float
    seconds: float
    samples: int = 0
    """Learned from in this step, by all processes together."""
    details: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    videos: tuple[Path, ...] = ()
    words: str = ""


def begin(task: Trainable, settings: LoopSettings, folder: Path, *, resume: bool | Path = False) -> Trainer:
    """What trains `task`, where the run starts: at its first step, or where a checkpoint is. Writes nothing.

    Raises:
        ValueError: `resume` without a checkpoint, or with one that is damaged or of another kind of run; none of it,
            and `folder` holds checkpoints.
    """
    start = starting_point(folder, resume)
    run = Trainer(task, settings)
    if start is not None:
        run.load_state(load_checkpoint(start, mesh=mesh_of(run.state())))
    return run


def fit(
    task: Trainable,
    settings: LoopSettings,
    folder: Path,
    *,
    resume: bool | Path = False,
    run: Trainer | None = None,
    look: Callable[[int], Findings] | None = None,
    stop: Stop | None = None,
) -> Iterator[Progress | Stopped]:
    """Train `task`, yielding after every step; leaves the averaged weights in the task at the end.

    SIGTERM, SIGHUP or Ctrl-C to any of the processes stops all of them after the same step, and so does a validation
    that finds it is enough: the step is saved, and `Stopped` is the last event. A second Ctrl-C is a KeyboardInterrupt.

    Args:
        task: what is trained.
        settings: the course.
        folder: where checkpoints are kept.
        resume: go on from this checkpoint; True: from the newest in `folder`.
        run: what `begin` gave for the same; none: begin here.
        look: called with the number of steps at each validation, the averaged weights in place, by the first process,
            or by all where they share the weights; none: the task's own validation alone.
        stop: what has asked to stop so far, where the caller listens already; none: signals are heard from here on.

    Raises:
        ValueError: `resume` without a checkpoint or with a damaged one; none of it, and `folder` holds checkpoints.
        FloatingPointError: a loss that is not finite; the last checkpoint stays as it was.
        OSError: a checkpoint could not be written; those before it are kept.
    """
    look = look or (lambda step: Findings(task.validate()))
    run, first = run or begin(task, settings, folder, resume=resume), place().first
    set_aside(folder, after=run.step)
    with stoppable() if stop is None else nullcontext(stop) as stop:
        started = time.perf_counter()
        while run.step < settings.steps:
            samples, found, enough = len(task.samples(run.step)), Findings(), 0
            details = run.advance()
            asked, last = highest(stop.asked), run.step == settings.steps
            if not asked and (last or run.step % settings.validate_every == 0):
                run.check_frozen()
                with run.averaged(), run.arithmetic():
                    found = look(run.step) if first or run.sharded else found
                enough = not last and highest(found.enough)
            seconds, told = time.perf_counter() - started, (found.scores, found.videos, found.words)
            yield Progress(run.step, settings.steps, details.pop("loss"), seconds, samples, details, *told)
            started = time.perf_counter()
            # now that the step is told, it is never missed
            if asked or enough or last or run.step % settings.save_every == 0:
                save_checkpoint(folder, run.step, run.state(), keep=settings.keep)
            if asked:
                yield Stopped(run.step, signal=Signals(asked))
                return
            if enough:
                yield Stopped(run.step, reason=found.words)
                return
    run.take_average()
    run.check_frozen()  # what follows delivers them
