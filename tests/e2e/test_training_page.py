"""The tables of docs/training.md match the settings: every name, default and docstring."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic_core import PydanticUndefined

from refilm.settings import Settings
from refilm.training.recipes import AdapterRecipe

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
ELSEWHERE = ("data.encode.",)  # in docs/data.md


def rows(kind: type[Settings] = AdapterRecipe, path: str = ""):
    """A table row for every setting that is not a table itself."""
    for name, field in kind.model_fields.items():
        below = [own for own in (field.annotation, *nested(field.annotation)) if is_settings(own)]
        for own in below:
            yield from rows(own, f"{path}{name}.")
        if not below and name != "stage":
            yield f"| `{path}{name}` | {toml_value(field.default)} | {' '.join((field.description or '').split())} |"


def nested(annotation):
    for part in get_args(annotation):
        yield from (part, *nested(part))


def is_settings(annotation) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Settings)


def toml_value(default) -> str:
    """A default value in TOML."""
    if default is PydanticUndefined:
        return "required"
    return "-" if default is None else f"`{json.dumps(default)}`"


@pytest.mark.parametrize("row", [row for row in rows() if not row.startswith(tuple(f"| `{e}" for e in ELSEWHERE))])
def test_a_setting_has_a_row(row):
    assert row in PAGE.read_text().splitlines()


def test_every_row_is_a_setting():
    tables = re.findall(r"^\| setting \|.*\n\| ---.*\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()]
    assert len(lines) > 30
    assert set(lines) <= set(rows())
