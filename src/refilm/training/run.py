"""A run: a recipe, its task, the loop and its folder. The command line and the tests go through here."""

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
from refilm.training.engine.loop import Progress, begin, fit
from refilm.training.engine.parameters import ParameterTable
from refilm.training.engine.signals import Stop, Stopped, stoppable
from refilm.training.monitor.trackers import TrackerName
from refilm.training.monitor.watch import watch
from refilm.training.overfit import Look, Outcome, overfit
from refilm.training.recipes import AdapterRecipe, BaseRecipe, Recipe, T

LOCK = ".lock"


@dataclass(frozen=True)
class Finished:
    """All steps are done: the last event of a run that was not stopped."""

    result: Path
    """Where the result is."""


Event = EncodeProgress | ParameterTable | Progress | Stopped | Finished
"""What a run yields, in this order: how far encoding has come, what trains, a step done, and how it ended."""


def train(
    recipe: Recipe[T],
    folder: Path,
    *,
    resume: bool | Path = False,
    allow_changes: Collection[str] = (),
    log_with: TrackerName | None = None,
    stop: Stop | None = None,
) -> Generator[Event, None, None]:
    """Train a recipe; at the end the result is delivered where the recipe says.

    Under `torchrun` all its processes take part; the first one yields `Finished`.

    Args:
        recipe: from `refilm.recipes.read_recipe`, or made of settings.
        folder: where checkpoints, records, videos, the run's account and the recipe as it was understood are kept.
        resume: go on from this checkpoint, or from the newest of this run's folder; True: from the newest in `folder`.
        allow_changes: settings, or tables of them, that may be others than in the run that is resumed.
        log_with: a tracker that gets the numbers beside TensorBoard.
        stop: from `stoppable`, where the caller listens to signals; None: SIGTERM, SIGHUP and Ctrl-C stop the run.

    Yields:
        Events. `Stopped` is the last one where a signal asked for it, or where as many validations as the recipe
        allows found that the image is not used; the last step is saved, or so are the encodings made so far.

    Raises:
        ValueError: a recipe or data that cannot be used; `folder` holds a run already and `resume` is not set, or
            it is set and there is no sound checkpoint, or one of another recipe; another process trains in `folder`.
            The records of the run are as they were then.
    """
    signs = {"silent_after": recipe.loop.silent_after, "give_up_after": recipe.loop.give_up_after}
    listening = stoppable() if stop is None else nullcontext(stop)
    with listening as stop, joined(), heartbeats(**signs), held(folder):
        start, since, encodings = checked(recipe, folder, resume=resume, allow_changes=allow_changes)
        with closing(encodings):  # which keeps what is encoded
            for progress in encodings:
                yield progress
                if stop.asked:
                    yield Stopped(None, Signals(stop.asked))
                    return
        wait_for_all()
        yield from _trained(recipe, folder, start, since, log_with=log_with, stop=stop)


def _trained(
    recipe: Recipe[T], folder: Path, start: Path | None, since: Comparison, *, log_with: TrackerName | None, stop: Stop
) -> Generator[Event, None, None]:
    """From the table of what trains on. What it makes is gone when it ends, as `joined` wants it."""
    task = recipe.task()
    since.compare_contents(task.sources())
    if table := task.trained(recipe.loop.optimizer):
        yield table
    videos = recipe.sample_videos(task, folder)
    run = begin(task, recipe.loop, folder, resume=start or False)
    wait_for_all()  # the records that each has compared with are written now
    watching = watch(
        task,
        recipe.loop,
        folder,
        recipe=recipe.to_values(),
        step=run.step,
        changes={change.name: [change.before, change.now] for change in since.changes},
        log_with=log_with,
        sample_videos=videos,
    )
    with closing(run), watching:
        for event in fit(task, recipe.loop, folder, run=run, look=watching.look, stop=stop):
            watching.note(event)
            yield event
            if isinstance(event, Stopped):
                return
        if place().first:
            result = recipe.deliver(task, watching.facts())
            watching.finished(result)
            yield Finished(result)


class Checked(NamedTuple):
    """A run that is possible, as far as can be known before clips are encoded."""

    start: Path | None
    """The checkpoint that it goes on from."""
    since: Comparison
    """What it has otherwise than the run that it goes on with."""
    encodings: Generator[EncodeProgress, None, None]
    """Encodes the clips, as it is followed."""


def checked(
    recipe: Recipe[T], folder: Path, *, resume: bool | Path = False, allow_changes: Collection[str] = ()
) -> Checked:
    """See whether a run is possible. A dry run is this, and the run begins with it. Writes nothing.

    Raises:
        ValueError: as `train`.
    """
    require_writable(folder)
    start = starting_point(folder, resume)
    since = Comparison(start, recipe, allow_changes)
    return Checked(start, since, recipe.prepare())


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within the context the folder of a run is there and is this run's alone; a new one that stays empty is removed.

    The first process holds it for all.

    Raises:
        ValueError: another process trains there.
    """
    with ExitStack() as stack:
        with agreed():
            if place().first:
                stack.enter_context(_held(folder))
        yield


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    require_writable(folder)
    made, lock = [path for path in (folder, *folder.parents) if not path.exists()], folder / LOCK
    folder.mkdir(parents=True, exist_ok=True)
    with locked(lock, f"{folder}: another process trains there; wait for its end, or choose another --run folder"):
        try:
            yield
        finally:
            if made and list(folder.iterdir()) == [lock]:
                lock.unlink()
                for path in made:
                    with suppress(OSError):  # another process uses it by now
                        path.rmdir()


def self_test(recipe: AdapterRecipe | BaseRecipe, clips: int) -> Generator[EncodeProgress | Look, None, Outcome]:
    """Try a recipe on a few of its clips, see `overfit`. Nothing is kept but encodings.

    Raises:
        ValueError: as `train`; the recipe has not so many clips.
    """
    with joined(), heartbeats():
        yield from recipe.prepare()
        wait_for_all()
        return (yield from _tried(recipe, clips))


def _tried(recipe: AdapterRecipe | BaseRecipe, clips: int) -> Generator[Look, None, Outcome]:
    return (yield from overfit(recipe.task(), recipe.loop, clips))
