"""Series of videos whose recipes differ in some values: drafts of several seeds, and sweeps over settings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from refilm.errors import UserError
from refilm.generation.recipe import VideoRecipe, read_video_recipe
from refilm.generation.states import SUFFIX, SavedRun, load_state

MOST_CELLS = 400


@dataclass(frozen=True)
class Axis:
    """A value of the recipe, and what it is in each row or column."""

    name: str
    """A name that `VideoRecipe.changed` knows."""
    values: tuple[Any, ...]

    def labels(self) -> list[str]:
        """How each row or column is called."""
        return [f"{self.name} {value}" for value in self.values]


@dataclass(frozen=True)
class Cell:
    """A video of a sweep."""

    row: int
    column: int
    recipe: VideoRecipe


def cells_of(recipe: VideoRecipe, axes: Sequence[Axis]) -> list[Cell]:
    """The videos of a sweep over one value (columns), or two (rows, then columns).

    Raises:
        UserError: a name or a value is invalid, or the axes are not those of a sweep.
    """
    require_grid(axes)
    rows = axes[0].values if len(axes) == 2 else (None,)

    def changes(row: Any, column: Any) -> Mapping[str, Any]:
        own = {axes[-1].name: column}
        return own if len(axes) == 1 else {axes[0].name: row} | own

    places = product(enumerate(rows), enumerate(axes[-1].values))
    return [Cell(i, j, recipe.changed(changes(row, column))) for (i, row), (j, column) in places]


def require_grid(axes: Sequence[Axis]) -> None:
    """Check that axes are those of a sweep; this needs no model.

    Raises:
        UserError: there are none or more than two, both vary the same value, or there are more than 400 videos.
    """
    if not 1 <= len(axes) <= 2:
        raise UserError(f"{len(axes)} values to sweep over; give one or two")
    if len({axis.name for axis in axes}) < len(axes):
        raise UserError(f"{axes[0].name}: is given twice; give all its values at once: {axes[0].name}=VALUE,VALUE")
    count = prod(len(axis.values) for axis in axes)
    if count > MOST_CELLS:
        raise UserError(f"{count} videos are more than {MOST_CELLS}; give fewer values, or use `refilm batch`")


def require_same_series(
    folder: Path, pattern: str, recipe_of: Callable[[str], VideoRecipe | None], pages: Sequence[str]
) -> None:
    """Check that a folder has no videos and states of another series, which this one would replace or mix with its own.

    Args:
        folder: the folder, which need not exist.
        pattern: a regular expression on the names of a series' files; its first group identifies the video.
        recipe_of: the recipe of a video of this series; None if it has no such video.
        pages: names of the files that show the whole series.

    Raises:
        UserError: a file is of another series; names it.
    """
    found = [(path, match[1]) for path in sorted(folder.glob("*")) if (match := re.fullmatch(pattern, path.name))]
    others = [path for path, video in found if not _is_of(recipe_of(video), path)]
    if not found:
        others = [folder / name for name in pages if (folder / name).exists()]
    if others:
        raise UserError(f"{others[0]}: is not of this series; choose another folder with --output, or remove the file")


def _is_of(recipe: VideoRecipe | None, path: Path) -> bool:
    """Whether a file is the video of a recipe, or a state of its run."""
    if recipe is None:
        return False
    return state_of(recipe, path) is not None if path.suffix == SUFFIX else is_made(recipe, path)


def is_made(recipe: VideoRecipe, path: Path) -> bool:
    """Whether a file is the video of a recipe."""
    try:
        return path.is_file() and read_video_recipe(path).makes_same_video_as(recipe)
    except UserError:
        return False


def state_of(recipe: VideoRecipe, path: Path) -> SavedRun | None:
    """The state of a recipe's run, if the file is one."""
    if not path.is_file():
        return None
    try:
        stored = load_state(path)
    except UserError:
        return None
    return stored if len(stored.recipes) == 1 and stored.recipes[0].makes_same_video_as(recipe) else None
