"""Series of videos whose recipes differ in some values: drafts of several seeds, and sweeps over settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from refilm.errors import UserError
from refilm.generation.recipe import VideoRecipe, read_video_recipe
from refilm.generation.states import SavedRun, load_state

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
        UserError: a name or a value is invalid, or there are more than 400 videos.
    """
    if not 1 <= len(axes) <= 2:
        raise UserError(f"{len(axes)} values to sweep over; give one or two")
    rows = axes[0].values if len(axes) == 2 else (None,)
    count = len(rows) * len(axes[-1].values)
    if count > MOST_CELLS:
        raise UserError(f"{count} videos are more than {MOST_CELLS}; give fewer values, or use `refilm batch`")

    def changes(row: Any, column: Any) -> Mapping[str, Any]:
        own = {axes[-1].name: column}
        return own if len(axes) == 1 else {axes[0].name: row} | own

    places = product(enumerate(rows), enumerate(axes[-1].values))
    return [Cell(i, j, recipe.changed(changes(row, column))) for (i, row), (j, column) in places]


def is_made(recipe: VideoRecipe, path: Path) -> bool:
    """Whether a file is the video of a recipe."""
    try:
        return path.is_file() and read_video_recipe(path).makes_same_video_as(recipe)
    except UserError:
        return False


def state_of(recipe: VideoRecipe, path: Path, *, device: torch.device | str = "cpu") -> SavedRun | None:
    """The state of a recipe's run, if the file is one; its tensors are on `device`."""
    if not path.is_file():
        return None
    try:
        stored = load_state(path, device=device)
    except UserError:
        return None
    return stored if len(stored.recipes) == 1 and stored.recipes[0].makes_same_video_as(recipe) else None
