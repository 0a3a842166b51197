"""The tables of docs/training.md say what the settings say: every name, its default, the sentence under it."""

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
    """A line of a table for every setting that is no table itself."""
    for name, field in kind.model_fields.items():
        below = [own for own in (field.annotation, *nested(field.annotation)) if is_settings(own)]
        for own in below:
            yield from rows(own, f"{path}{name}.")
        if not below and name != "stage":
            yield f"| `{path}{name}` | {told(field.default)} | {' '.join((field.description or '').split())} |"


def nested(annotation):
    for part in get_args(annotation):
        yield from (part, *nested(part))


def is_settings(annotation) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Settings)


def told(default) -> str:
    """As one writes it in TOML."""
    if default is PydanticUndefined:
        return "needed"
    return "none" if default is None else f"`{json.dumps(default)}`"


@pytest.mark.parametrize("row", [row for row in rows() if not row.startswith(tuple(f"| `{e}" for e in ELSEWHERE))])
def test_a_setting_is_told_as_it_is(row):
    assert row in PAGE.read_text().splitlines()


def test_no_setting_is_told_that_is_none():
    tables = re.findall(r"^\| setting \|.*\n\| ---.*\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()]
    assert len(lines) > 30
    assert set(lines) <= set(rows())
