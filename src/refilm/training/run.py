"""A run: a recipe, its task, the loop and its folder. The command line and the tests go through here."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from refilm.training.loop import Progress, fit
from refilm.training.recipes import read_recipe


def train(
    recipe_path: Path,
    folder: Path,
    *,
    resume: bool = False,
    on_encoded: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Progress]:
    """Train a recipe, yielding after every step. The result is delivered where the recipe says, after the last one.

    Args:
        recipe_path: a TOML file.
        folder: where checkpoints and the recipe as it was understood are kept.
        resume: go on from the newest checkpoint in `folder`.
        on_encoded: told (clips done, clips in all) while clips are encoded, before the first step.

    Raises:
        ValueError: a recipe or data that cannot be used; `folder` holds a run already and `resume` is not set, or
            it is set and there is none.
    """
    recipe: Any = read_recipe(recipe_path)
    if not resume and any(folder.glob("step-*")):
        raise ValueError(f"{folder}: holds a run already; add --resume to go on, or choose another --run folder")
    folder.mkdir(parents=True, exist_ok=True)
    for done, total in recipe.prepare():
        on_encoded(done, total)
    task = recipe.task()
    (folder / "recipe.toml").write_text(recipe.to_toml())
    yield from fit(task, recipe.loop, folder, resume=resume)
    recipe.deliver(task)
