"""All commands of refilm with their options, for tests that read help texts and names."""

from collections.abc import Iterator
from typing import Any

import typer

from refilm.cli.app import app


def commands(command: Any = None, name: str = "refilm") -> Iterator[tuple[str, Any]]:
    """Every command and group by its full name; commands that are imported when they run are imported here."""
    command = command or typer.main.get_command(app)
    command = getattr(command, "loaded", command)
    yield name, command
    for sub, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {sub}")


def options(command: Any) -> set[str]:
    """The names of a command's options."""
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
