"""A run: a recipe, its task, the loop and its folder. The command line and the tests go through here."""

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from refilm.checkpoints.files import replaced_file
from refilm.training.loop import Progress, fit
from refilm.training.parallel import joined, wait_for_all
from refilm.training.recipes import read_recipe
from refilm.training.resume import starting_point


def train(
    recipe_path: Path,
    folder: Path,
    *,
    resume: bool | Path = False,
    changes: Mapping[str, Any] | None = None,
    on_encoded: Callable[[int, int], None] = lambda done, total: None,
    on_stop: Callable[[], None] = lambda: None,
) -> Generator[Progress, None, Path]:
    """Train a recipe, yielding after every step; after the last one the result is delivered where the recipe says.

    Under `torchrun` all its processes take part.

    Args:
        recipe_path: a TOML file.
        folder: where checkpoints and the recipe as it was understood are kept.
        resume: go on from this checkpoint, or from the newest of this run's folder; True: from the newest in `folder`.
        changes: values by dotted name that take the place of the recipe's.
        on_encoded: told (clips done, clips in all) while clips are encoded, before the first step.
        on_stop: called when SIGTERM or Ctrl-C asks to stop, from the signal's handler.

    Returns:
        Where the result is.

    Raises:
        ValueError: a recipe or data that cannot be used; `folder` holds a run already and `resume` is not set, or
            it is set and there is no sound checkpoint.
        Stopped: SIGTERM or Ctrl-C asked for it; the last step is saved.
    """
    recipe: Any = read_recipe(recipe_path, changes)
    starting_point(folder, resume)  # refused before clips are encoded
    with joined() as here:
        folder.mkdir(parents=True, exist_ok=True)
        for done, total in recipe.prepare():
            on_encoded(done, total)
        wait_for_all()
        task = recipe.task()
        if here.first:
            with replaced_file(folder / "recipe.toml") as path:
                path.write_text(recipe.to_toml())
        yield from fit(task, recipe.loop, folder, resume=resume, on_stop=on_stop)
        return recipe.deliver(task) if here.first else folder
