"""A hook of mkdocs: fills docs/settings.md with tables of all settings of recipes, made from their classes."""

from collections.abc import Iterator
from typing import Any

from refilm.recipes import STAGES
from refilm.settings.described import Setting, Table, table_of

PLACE = "<!-- tables -->"
HEAD = "| setting | values | default | |\n| --- | --- | --- | --- |"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace the placeholder of the page by the tables."""
    return markdown.replace(PLACE, tables()) if page.file.src_uri == "settings.md" else markdown


def tables() -> str:
    """A section for every stage, with a table for every table of its recipes."""
    return "\n\n".join(part for stage in reversed(STAGES) for part in _stage(stage, table_of(STAGES[stage])))


def _stage(stage: str, table: Table) -> Iterator[str]:
    yield f"## Recipes of the stage `{stage}`"
    for each in _all(table):
        if each.settings:
            name = f"[[{each.name}]]" if each.repeated else f"[{each.name}]"
            yield f"### {stage}: " + (f"`{name}`" if each.name else "the top of the file")
            yield "\n".join((HEAD, *map(_row, each.settings)))


def _all(table: Table) -> Iterator[Table]:
    yield table
    for inner in table.tables:
        yield from _all(inner)


def _row(setting: Setting) -> str:
    default = "required" if setting.required else f"`{setting.default}`" if setting.default is not None else "-"
    return f"| `{setting.name}` | {setting.values} | {default} | {setting.sentence} |"
