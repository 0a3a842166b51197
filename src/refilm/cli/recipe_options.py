"""Options of a command from a TOML file: its values become the defaults of the options of the same names.

A value has the type of its option; where an option can be repeated, a single value needs no brackets. Relative paths
are relative to the folder of the file, so that it can be moved together with its images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer
from pydantic import Field, create_model

from refilm.errors import UserError
from refilm.hub import is_hub_id
from refilm.settings import Settings, meant, optional, read_toml

RECIPE, SUBJECTS = "recipe", "subjects"
SOURCES = ("base", "adapter", "image_encoder")  # folders or Hub ids
NAMES = ("pocket", "default", "none")  # what else they can be


class Stored(Settings):
    """Where options are stored."""

    recipe: Path | None = None
    """TOML file with any of these options by name (guidance_steps = "1-20"), and a table [subjects.NAME] for each
    subject. Relative paths in it are relative to its folder. Options of the command line come first."""


def stored(*kinds: type[Settings], left: type[Settings]) -> type[Stored]:
    """The option --recipe of a command. Arguments as of `from_recipe`."""
    field = Stored.model_fields["recipe"]
    option = Annotated[Path | None, from_recipe(*kinds, left=left)]
    return create_model("Stored", __base__=Stored, recipe=(option, Field(default=None, description=field.description)))


def from_recipe(*kinds: type[Settings], left: type[Settings]) -> Any:
    """An option whose file gives values of the other options.

    Args:
        kinds: these options.
        left: options that the file gives as well, but that are left to the command, as the tables [subjects.NAME] are;
            it reads them with `read_options`.
    """

    def read(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None and not context.resilient_parsing:
            values = {name: value for name, value in read_toml(path).items() if name != SUBJECTS}
            options = read_options(path, values, (*kinds, left))
            mine = options.model_dump(mode="json", exclude_unset=True, exclude=set(left.model_fields))
            context.default_map = {**mine, **(context.default_map or {})}
        return path

    return typer.Option(callback=read, is_eager=True)


def read_options(path: Path, values: Mapping[str, Any], kinds: Sequence[type[Settings]]) -> Settings:
    """The values of a recipe as settings that are None if the recipe does not have them, with paths resolved.

    Args:
        path: the recipe.
        values: its values.
        kinds: the classes whose settings it may have.

    Raises:
        UserError: a value is unknown or has another type than its option; names the file and the value.
    """
    if RECIPE in values:
        raise UserError(f"{path}: {RECIPE}: a recipe cannot contain another; copy its values")
    fields = {name: field for kind in kinds for name, field in kind.model_fields.items()}
    listed = {}
    for name, value in values.items():
        if isinstance(value, dict):
            raise UserError(f"{path}: {name}: is a table; {_instead(name, value, known=name in fields)}")
        several = name in fields and get_origin(fields[name].annotation) is tuple
        listed[name] = [value] if several and not isinstance(value, list) else value
    optionals: dict[str, Any] = {name: (optional(field), None) for name, field in fields.items()}
    try:
        options = create_model("Options", __base__=Settings, **optionals).from_values(listed)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    given = {name: getattr(options, name) for name in options.model_fields_set}
    return options.model_copy(update={name: _resolved(path.parent, name, value) for name, value in given.items()})


def _instead(name: str, table: Mapping[str, Any], *, known: bool) -> str:
    """What to write in place of a table of this name."""
    if meant(name, [SUBJECTS]):
        name = next((own for own, value in table.items() if isinstance(value, dict)), "fox")
    elif known:
        return "give a value"
    return f"the table of a subject is [{SUBJECTS}.{name}]"


def _resolved(folder: Path, name: str, value: Any) -> Any:
    if type(value) is tuple:  # not a range of steps
        return tuple(_resolved(folder, name, one) for one in value)
    if isinstance(value, Path):
        return folder / value
    return beside(folder, value) if name in SOURCES else value


def beside(folder: Path, source: str) -> str:
    """The source of weights or of a subject: a name, a Hub id, or a path, which is relative to a folder."""
    path = folder / source
    return source if source in NAMES or (not path.exists() and is_hub_id(source)) else str(path)
