"""Recipe files: TOML whose `stage` selects the recipe class. Lists every recipe that `refilm train` accepts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refilm.errors import UserError
from refilm.evaluation.recipe import EvaluatedAdapterRecipe
from refilm.pocket.recipes import AutoencoderRecipe, EncodersRecipe
from refilm.settings import read_toml
from refilm.training.recipes import BaseRecipe, Recipe

STAGES: dict[str, type[Recipe[Any]]] = {
    "autoencoder": AutoencoderRecipe,
    "encoders": EncodersRecipe,
    "base": BaseRecipe,
    "adapter": EvaluatedAdapterRecipe,
}


def read_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe[Any]:
    """Read a recipe.

    Args:
        path: a TOML file.
        changes: values by dotted name, such as "loop.steps", that override the file's.

    Raises:
        UserError: the file is missing, is not TOML, or has an unknown or invalid setting; the message names it.
    """
    values = changed(read_toml(path), changes or {})
    try:
        return recipe_of(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def recipe_of(values: Mapping[str, Any]) -> Recipe[Any]:
    """Create a recipe from plain values, as in TOML and JSON.

    Raises:
        UserError: an unknown or invalid setting; the message names it.
    """
    stage = values.get("stage")
    if not isinstance(stage, str) or stage not in STAGES:
        raise UserError(f"stage: choose one of {', '.join(STAGES)} (received {stage!r})")
    return STAGES[stage].from_values(values)


def changed(values: Mapping[str, Any], changes: Mapping[str, Any], *, within: str = "") -> dict[str, Any]:
    """A copy of nested tables with some values, given by dotted name, replaced.

    Args:
        values: the tables.
        changes: new values by dotted name.
        within: prefix of the names in errors, such as "loop.".

    Raises:
        UserError: a dotted name passes through a value that is not a table.
    """
    copy = dict(values)
    for name, value in changes.items():
        key, _, rest = name.partition(".")
        if rest:
            table = copy.get(key, {})
            if not isinstance(table, Mapping):
                where = f"{within}{key}"
                raise UserError(f"{within}{name}: {where} is {table!r}, not a table of settings; set {where} itself")
            value = changed(table, {rest: value}, within=f"{within}{key}.")
        copy[key] = value
    return copy
