"""A run: a recipe, its task, the loop and its folder. The command line and the tests go through here."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from refilm.data.encoding import EncodeProgress
from refilm.files import locked, require_writable
from refilm.training.changes import Comparison
from refilm.training.checkpoint.checkpoints import starting_point
from refilm.training.distributed.consensus import agreed
from refilm.training.distributed.heartbeats import heartbeats
from refilm.training.distributed.parallel import joined, place, wait_for_all
from refilm.training.engine.loop import Progress, begin, fit
from refilm.training.engine.parameters import TrainedTable
from refilm.training.engine.signals import Stopped, stoppable
from refilm.training.engine.step import Task
from refilm.training.monitor.sample_videos import Filming, prepare
from refilm.training.monitor.trackers import TrackerName
from refilm.training.monitor.watch import sources_of, watch
from refilm.training.overfit import Look, Outcome, overfit
from refilm.training.recipes import AdapterRecipe, Recipe, read_recipe
from refilm.training.tasks.diffusion import DiffusionTask

LOCK = ".lock"


def train(
    recipe_path: Path,
    folder: Path,
    *,
    resume: bool | Path = False,
    changes: Mapping[str, Any] | None = None,
    allow_changes: Collection[str] = (),
    log_with: TrackerName | None = None,
    on_encoded: Callable[[EncodeProgress], None] = lambda progress: None,
    on_trained: Callable[[TrainedTable], None] = lambda table: None,
    on_stop: Callable[[], None] = lambda: None,
) -> Generator[Progress, None, Path]:
    """Train a recipe, yielding after every step; after the last one the result is delivered where the recipe says.

    Under `torchrun` all its processes take part.

    Args:
        recipe_path: a TOML file.
        folder: where checkpoints, records, films, the run's account and the recipe as it was understood are kept.
        resume: go on from this checkpoint, or from the newest of this run's folder; True: from the newest in `folder`.
        changes: values by dotted name that take the place of the recipe's.
        allow_changes: settings, or tables of them, that may be others than in the run that is resumed.
        log_with: a tracker that gets the numbers beside TensorBoard.
        on_encoded: told how far it has come while captions, references and clips are encoded, before the first step.
        on_trained: told what trains and what is frozen, before the first step.
        on_stop: called when SIGTERM, SIGHUP or Ctrl-C asks to stop, from the signal's handler.

    Returns:
        Where the result is.

    Raises:
        ValueError: a recipe or data that cannot be used; `folder` holds a run already and `resume` is not set, or
            it is set and there is no sound checkpoint, or one of another recipe; another process trains in `folder`.
            The records of the run are as they were then.
        Stopped: SIGTERM, SIGHUP or Ctrl-C asked for it; the last step is saved, or so are the encodings made so far.
        Ended: as many validations as the recipe allows found that the picture is not used; the last step is saved.
    """
    recipe: Any = read_recipe(recipe_path, changes)
    signs = {"silent_after": recipe.loop.silent_after, "give_up_after": recipe.loop.give_up_after}
    with stoppable(on_stop) as stop, joined() as here, heartbeats(**signs), held(folder):
        start, since, encodings = checked(recipe, folder, resume=resume, allow_changes=allow_changes)
        with closing(encodings):  # which keeps what is encoded
            for progress in encodings:
                on_encoded(progress)
                if stop.asked:
                    raise Stopped(None, stop.asked)
        wait_for_all()
        task = recipe.task()
        since.compare_contents(sources_of(task, None))
        if isinstance(task, DiffusionTask):
            on_trained(task.trained(recipe.loop.optimizer))
        filming = filming_of(recipe, task, folder)
        run = begin(task, recipe.loop, folder, resume=start or False)
        wait_for_all()  # the records that each has compared with are written now
        watching = watch(task, recipe, folder, step=run.step, changes=since.changes, log_with=log_with, filming=filming)
        with watching:
            for progress in fit(task, recipe.loop, folder, run=run, look=watching.look, stop=stop):
                watching.note(progress)
                yield progress
            if not here.first:
                return folder
            out = recipe.deliver(task, watching.facts())
            watching.finished(out)
            return out


class Checked(NamedTuple):
    """A run that is possible, as far as can be known before clips are encoded."""

    start: Path | None
    """The checkpoint that it goes on from."""
    since: Comparison
    """What it has otherwise than the run that it goes on with."""
    encodings: Generator[EncodeProgress, None, None]
    """Encodes the clips, as it is followed."""


def checked(
    recipe: Recipe, folder: Path, *, resume: bool | Path = False, allow_changes: Collection[str] = ()
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


def self_test(
    recipe_path: Path,
    clips: int,
    *,
    changes: Mapping[str, Any] | None = None,
    on_encoded: Callable[[EncodeProgress], None] = lambda progress: None,
) -> Generator[Look, None, Outcome]:
    """Try a recipe on a few of its clips, see `overfit`. Nothing is kept but encodings.

    Raises:
        ValueError: as `train`; the recipe learns from no encoded clips, or has not so many.
    """
    recipe: Any = read_recipe(recipe_path, changes)
    if recipe.stage not in ("adapter", "base"):
        raise ValueError(f"{recipe_path}: stage {recipe.stage} has no self-test; leave --overfit out")
    with joined(), heartbeats():
        for progress in recipe.prepare():
            on_encoded(progress)
        wait_for_all()
        return (yield from overfit(recipe.task(), recipe.loop, clips))


def filming_of(recipe: Any, task: Task, folder: Path) -> Filming | None:
    """What makes the films that an adapter's recipe asks for."""
    if not isinstance(recipe, AdapterRecipe) or not recipe.films.prompts:
        return None
    assert isinstance(task, DiffusionTask)
    dtype = str(task.transformer.text_embedding.weight.dtype).removeprefix("torch.")
    base = recipe.open_base(dtype, task.device)
    return prepare(
        recipe.films,
        base,
        task.transformer,
        adapter=task.adapter,
        held_out=task.held_out,
        learned=task.stream.most(),
        folder=folder,
    )
