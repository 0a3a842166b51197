"""A TOML file with every setting of a class, to edit."""

from collections.abc import Iterator
from textwrap import wrap

from refilm.settings.described import Setting, Table, table_of

WIDTH = 110
HEADER = """\
# All settings. To change a default such as #steps = 10, remove the # and edit the value. Settings without a default
# are written as # batch = ...; settings without a # are required, and their values here are examples.\
"""


def template(kind: type) -> str:
    """A TOML file with all settings of a class, each below its sentence and its allowed values.

    Required settings have an example. A line such as `#steps = 10` is a default: removing the `#` changes nothing.
    Lines such as `# batch = ...`, with a space, are settings without a default.
    """
    return "\n".join((HEADER, *_lines(table_of(kind)))).strip() + "\n"


def _lines(table: Table, *, absent: bool = False) -> Iterator[str]:
    absent = absent or table.absent
    if table.name:
        header = f"[[{table.name}]]" if table.repeated else f"[{table.name}]"
        yield from ("", f"# {header}" if absent else header)
    for setting in table.settings:
        yield ""
        yield from _comment(setting)
        yield _assignment(setting, absent=absent)
    for inner in table.tables:
        yield from _lines(inner, absent=absent)


def _comment(setting: Setting) -> Iterator[str]:
    for line in wrap(f"{setting.sentence} ({setting.values})", WIDTH, break_on_hyphens=False):
        yield f"# {line}"


def _assignment(setting: Setting, *, absent: bool) -> str:
    if setting.required:
        return f"{'# ' if absent else ''}{setting.name} = {setting.example or '...'}"
    if setting.default is None:
        return f"# {setting.name} = ..."
    return f"#{' ' if absent else ''}{setting.name} = {setting.default}"
