"""Options of a command from a TOML file: its values become the defaults of the options of the same names."""

from pathlib import Path
from typing import Any

import typer

from refilm.errors import UserError
from refilm.settings import meant, read_toml


def from_recipe(*tables: str) -> Any:
    """An option whose file gives values of the other options. Tables named here are left to the command."""

    def read(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None and not context.resilient_parsing:
            known = [parameter.name for parameter in context.command.params if parameter.name]
            context.default_map = {**_values(path, known, tables), **(context.default_map or {})}
        return path

    return typer.Option(callback=read, is_eager=True)


def _values(path: Path, known: list[str], tables: tuple[str, ...]) -> dict[str, Any]:
    values = {name: value for name, value in read_toml(path).items() if name not in tables}
    for name, value in values.items():
        if name not in known or name == "recipe":
            similar = meant(name, [*known, *tables])
            raise UserError(f"{path}: {name}: unknown" + (f"; did you mean {similar}?" if similar else ""))
        if isinstance(value, dict):
            raise UserError(f"{path}: {name}: is a table; give a value")
    return values
