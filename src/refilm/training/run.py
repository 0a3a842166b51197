"""A training run: recipe, task, loop and run folder. Used by the command line, the Python API and the tests."""

from collections.abc import Collection, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import NamedTuple

from refilm.data.encoding import EncodeProgress
from refilm.files import locked, require_writable
from refilm.training.changes import Comparison
from refilm.training.checkpoint.checkpoints import starting_point
from refilm.training.distributed.consensus import agreed
from refilm.training.distributed.heartbeats import heartbeats
from refilm.training.distributed.parallel import joined, place, wait_for_all
from refilm.training.engine.loop import Progress, fit, make_trainer
from refilm.training.engine.parameters import ParameterTable
from refilm.training.engine.signals import Stop, Stopped, stoppable
from refilm.training.monitor.trackers import TrackerName
from refilm.training.monitor.watch import watch
from refilm.training.overfit import Outcome, OverfitProgress, overfit
from refilm.training.recipes import AdapterRecipe, BaseRecipe, Recipe, T

LOCK = ".lock"


@dataclass(frozen=True)
class Finished:
    """The run is complete: the last event of a run that was not stopped."""

    result: Path
    """Path of the result."""


Event = EncodeProgress | ParameterTable | Progress | Stopped | Finished
"""The events of a run, in this order: progress of encoding, trained parameters, finished steps, end of the run."""


def train(
    recipe: Recipe[T],
    folder: Path,
    *,
    resume: bool | Path = False,
    allow_changes: Collection[str] = (),
    log_with: TrackerName | None = None,
    stop: Stop | None = None,
) -> Generator[Event, None, None]:
    """Train a recipe, and save the result to the recipe's output folder.

    Under `torchrun` all processes call this; the first one yields `Finished`.

    Args:
        recipe: from `refilm.recipes.read_recipe`, or created in Python.
        folder: for checkpoints, logs, sample videos, the run record and the complete recipe.
        resume: a checkpoint to resume from, or a run's folder for its newest; True: the newest in `folder`.
        allow_changes: settings, or tables of settings, that may differ from the resumed run.
        log_with: a tracker that gets the same metrics as TensorBoard.
        stop: from `stoppable`, if the caller handles signals; None: SIGTERM, SIGHUP and Ctrl-C stop the run.

    Yields:
        Events. The last one is `Stopped` if a signal was received, or if `stop_if_unused` validations in a row found
        that the reference is not used; the last step, or the encodings so far, are saved.

    Raises:
        UserError: the recipe or data cannot be used; `folder` contains a run and `resume` is not set; with `resume`,
            there is no intact checkpoint, or it belongs to another recipe; another process trains in `folder`. The
            logs and the record of the run are unchanged then.
    """
    signs = {"silent_after": recipe.loop.silent_after, "give_up_after": recipe.loop.give_up_after}
    listening = stoppable() if stop is None else nullcontext(stop)
    with listening as stop, joined(), heartbeats(**signs), locked_folder(folder):
        start, since, encodings = checked(recipe, folder, resume=resume, allow_changes=allow_changes)
        with closing(encodings):  # keeps what is already encoded
            for progress in encodings:
                yield progress
                if stop.received:
                    yield Stopped(None, Signals(stop.received))
                    return
        wait_for_all()
        yield from _trained(recipe, folder, start, since, log_with=log_with, stop=stop)


def _trained(
    recipe: Recipe[T], folder: Path, start: Path | None, since: Comparison, *, log_with: TrackerName | None, stop: Stop
) -> Generator[Event, None, None]:
    """All events after encoding. Releases the trainer at its end, as `joined` requires."""
    task = recipe.task()
    since.compare_contents(task.sources())
    if table := task.trained(recipe.loop.optimizer):
        yield table
    videos, evaluation = recipe.sample_videos(task, folder), recipe.evaluation(task, folder)
    run = make_trainer(task, recipe.loop, folder, resume=start or False)
    wait_for_all()  # every process has compared the run record before it is written
    watching = watch(
        task,
        recipe.loop,
        folder,
        recipe=recipe.to_values(),
        step=run.step,
        changes={change.name: [change.before, change.now] for change in since.changes},
        log_with=log_with,
        sample_videos=videos,
        evaluation=evaluation,
    )
    with closing(run), watching:
        for event in fit(task, recipe.loop, folder, run=run, validate=watching.validate, stop=stop):
            watching.note(event)
            yield event
            if isinstance(event, Stopped):
                return
        if place().first:
            result = recipe.deliver(task, watching.facts())
            watching.finished(result)
            yield Finished(result)


class Checked(NamedTuple):
    """A run that passed all checks that are possible before clips are encoded."""

    start: Path | None
    """The checkpoint to resume from."""
    since: Comparison
    """Differences from the resumed run."""
    encodings: Generator[EncodeProgress, None, None]
    """Encodes the clips while it is iterated."""


def checked(
    recipe: Recipe[T], folder: Path, *, resume: bool | Path = False, allow_changes: Collection[str] = ()
) -> Checked:
    """Check that a run is possible. Used by the dry run and at the start of a run. Writes nothing.

    Raises:
        UserError: as `train`.
    """
    require_writable(folder)
    start = starting_point(folder, resume)
    since = Comparison(start, recipe, allow_changes)
    return Checked(start, since, recipe.prepare())


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Create and lock the folder of a run; a new folder that stays empty is removed at the end.

    The first process holds the lock for all processes.

    Raises:
        UserError: another process trains in the folder.
    """
    with ExitStack() as stack:
        with agreed():
            if place().first:
                stack.enter_context(_locked_folder(folder))
        yield


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    require_writable(folder)
    made, lock = [path for path in (folder, *folder.parents) if not path.exists()], folder / LOCK
    folder.mkdir(parents=True, exist_ok=True)
    with locked(
        lock, f"{folder}: another process trains in this folder; wait until it ends, or choose another --run folder"
    ):
        try:
            yield
        finally:
            if made and list(folder.iterdir()) == [lock]:
                lock.unlink()
                for path in made:
                    with suppress(OSError):  # another process uses the folder now
                        path.rmdir()


def self_test(
    recipe: AdapterRecipe | BaseRecipe, clips: int
) -> Generator[EncodeProgress | OverfitProgress, None, Outcome]:
    """Test a recipe on a few of its clips, see `overfit`. Only encodings are written.

    Raises:
        UserError: as `train`; the recipe has fewer clips.
    """
    with joined(), heartbeats():
        yield from recipe.prepare()
        wait_for_all()
        return (yield from _overfitted(recipe, clips))


def _overfitted(recipe: AdapterRecipe | BaseRecipe, clips: int) -> Generator[OverfitProgress, None, Outcome]:
    return (yield from overfit(recipe.task(), recipe.loop, clips))
