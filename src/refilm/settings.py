"""Typed, strict settings of runs, read from and written to TOML. Nonsense is refused when it is made.

Knows nothing of what the settings are for: each room declares its own by deriving from `Settings`.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from refilm.files import read_text


class Settings(BaseModel):
    """The base of all settings: frozen, no unknown keys, no silent conversions between kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def from_toml(cls, path: Path | str) -> Self:
        """Read settings from a file.

        Raises:
            ValueError: the file is missing, is not TOML, or holds an unknown or impossible setting; says which.
        """
        try:
            return cls.model_validate(read_toml(Path(path)))
        except ValidationError as error:
            raise ValueError(f"{path}: {explain(error)}") from error

    def to_toml(self) -> str:
        """These settings as TOML that `from_toml` reads back as equal."""
        return "\n".join(_tables(self.model_dump(mode="json", exclude_none=True), ())).lstrip("\n") + "\n"


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: the file is missing or is not TOML.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a recipe, a TOML file")
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not TOML: {error}") from error


def explain(error: ValidationError) -> str:
    """Pydantic's complaints in one line: each setting's dotted name, what is wrong, and the value received."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'settings'}: {fault['msg']} (received {fault['input']!r})"
        for fault in error.errors()
    )


def _tables(values: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in values.items() if not _is_table(value)}
    lines = [f"{key} = {_literal(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", f"[{'.'.join((*path, key))}]", *_tables(value, (*path, key))]
        elif _is_table(value):
            for row in value:
                lines += ["", f"[[{'.'.join((*path, key))}]]", *_tables(row, (*path, key))]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _literal(value: Any) -> str:
    return "[" + ", ".join(map(_literal, value)) + "]" if isinstance(value, list) else json.dumps(value)
