"""A run: a recipe, its task, the loop and its folder. The command line and the tests go through here."""

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from refilm.files import write_text
from refilm.training.diffusion import DiffusionTask
from refilm.training.films import Filming, prepare
from refilm.training.loop import Progress, fit
from refilm.training.overfit import Look, Outcome, overfit
from refilm.training.parallel import joined, wait_for_all
from refilm.training.recipes import AdapterRecipe, read_recipe
from refilm.training.records import TrackerName
from refilm.training.resume import starting_point, step_of
from refilm.training.signals import Stopped, stoppable
from refilm.training.step import Task
from refilm.training.trained import TrainedTable
from refilm.training.watching import watch


def train(
    recipe_path: Path,
    folder: Path,
    *,
    resume: bool | Path = False,
    changes: Mapping[str, Any] | None = None,
    log_with: TrackerName | None = None,
    on_encoded: Callable[[int, int], None] = lambda done, total: None,
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
        log_with: a tracker that gets the numbers beside TensorBoard.
        on_encoded: told (clips done, clips in all) while clips are encoded, before the first step.
        on_trained: told what trains and what is frozen, before the first step.
        on_stop: called when SIGTERM or Ctrl-C asks to stop, from the signal's handler.

    Returns:
        Where the result is.

    Raises:
        ValueError: a recipe or data that cannot be used; `folder` holds a run already and `resume` is not set, or
            it is set and there is no sound checkpoint.
        Stopped: SIGTERM or Ctrl-C asked for it; the last step is saved, or so are the encodings made so far.
        Ended: as many validations as the recipe allows found that the picture is not used; the last step is saved.
    """
    recipe: Any = read_recipe(recipe_path, changes)
    start = starting_point(folder, resume)  # refused before clips are encoded
    with stoppable(on_stop) as stop, joined() as here:
        folder.mkdir(parents=True, exist_ok=True)
        for done, total in recipe.prepare():
            on_encoded(done, total)
            if stop.asked:
                raise Stopped(None, stop.asked)  # what is encoded is kept
        wait_for_all()
        task = recipe.task()
        if here.first:
            write_text(folder / "recipe.toml", recipe.to_toml())
        if isinstance(task, DiffusionTask):
            on_trained(task.trained(recipe.loop.optimizer))
        step, filming = step_of(start) if start else 0, filming_of(recipe, task, folder)
        with watch(task, recipe, folder, step=step, log_with=log_with, filming=filming) as watching:
            steps = fit(task, recipe.loop, folder, resume=resume, look=watching.look, stop=stop)
            for progress in steps:
                watching.note(progress)
                yield progress
            if not here.first:
                return folder
            out = recipe.deliver(task, watching.facts())
            watching.finished(out)
            return out


def self_test(
    recipe_path: Path,
    clips: int,
    *,
    changes: Mapping[str, Any] | None = None,
    on_encoded: Callable[[int, int], None] = lambda done, total: None,
) -> Generator[Look, None, Outcome]:
    """Try a recipe on a few of its clips, see `overfit`. Nothing is kept but encodings.

    Raises:
        ValueError: as `train`; the recipe learns from no encoded clips, or has not so many.
    """
    recipe: Any = read_recipe(recipe_path, changes)
    if recipe.stage not in ("adapter", "base"):
        raise ValueError(f"{recipe_path}: stage {recipe.stage} has no self-test; leave --overfit out")
    with joined():
        for done, total in recipe.prepare():
            on_encoded(done, total)
        wait_for_all()
        return (yield from overfit(recipe.task(), recipe.loop, clips))


def filming_of(recipe: Any, task: Task, folder: Path) -> Filming | None:
    """What makes the films that an adapter's recipe asks for."""
    if not isinstance(recipe, AdapterRecipe) or not recipe.films.prompts:
        return None
    assert isinstance(task, DiffusionTask)
    dtype = str(task.transformer.text_embedding.weight.dtype).removeprefix("torch.")
    base = recipe.open_base(dtype, task.device)
    return prepare(recipe.films, base, task.transformer, adapter=task.adapter, held_out=task.held_out, folder=folder)
