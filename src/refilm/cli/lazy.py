"""Groups of commands that are imported when they run, so that `--help` and other commands do not wait for them.

The one-line help of a command is the start of its docstring, which is read from the source file without importing it.
"""

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


class LazyCommand(TyperCommand):
    """Stands for a command until it is called.

    Args:
        name: the command's name.
        place: the function, as `module:function`.
    """

    def __init__(self, name: str, place: str):
        super().__init__(name)
        self.module, self.function = place.split(":")
        self.help = _docstring(self.module, self.function)

    @cached_property
    def loaded(self) -> TyperCommand:
        """The command itself, with its options."""
        app = typer.Typer(add_completion=False)
        app.command(self.name)(getattr(importlib.import_module(self.module), self.function))
        made = typer.main.get_command(app)
        assert isinstance(made, TyperCommand)
        return made

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        self.loaded.rich_markup_mode = parent.command.rich_markup_mode
        return self.loaded.make_context(info_name, args, parent, **extra)


class LazyGroup(TyperGroup):
    """A group of lazy commands, listed before its other commands."""

    places: ClassVar[Mapping[str, str]] = {}
    """Each command's name, and its function as `module:function`."""

    def __init__(self, **attributes: Any):
        super().__init__(**attributes)
        self.commands = {name: LazyCommand(name, place) for name, place in self.places.items()} | dict(self.commands)


def _docstring(module: str, function: str) -> str | None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    return ast.get_docstring(next(found))
