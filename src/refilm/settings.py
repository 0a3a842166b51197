"""Typed, strict settings of runs, read from and written to TOML. Nonsense is refused when it is made.

Knows nothing of what the settings are for: each room declares its own by deriving from `Settings`.
"""

import difflib
import json
import logging
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from refilm.files import read_text

logger = logging.getLogger("refilm")
LARGEST = 1 << 22  # bytes of a file of settings: whoever gives weights in its place shall not wait for them to be read
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Settings(BaseModel):
    """The base of all settings: frozen, without unknown keys, and strict.

    A value has the kind that its field is declared with, and is never converted: "12" and 12.0 are no integers, 1 and
    "yes" are no booleans, True is no number. An integer is taken where a number with fractions is wanted; not a number
    and infinity are not. In Python a tuple is a tuple and a path a `Path`; what comes from a file (`from_toml`,
    `from_values`) has lists and text in their place. Every number has bounds.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )
    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Names that settings had in earlier versions: old -> new. Both are read."""

    @classmethod
    def from_toml(cls, path: Path | str) -> Self:
        """Read settings from a file.

        Raises:
            ValueError: the file is missing, is not TOML, or holds an unknown or impossible setting; says which.
        """
        values = read_toml(Path(path))
        try:
            return cls.from_values(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Settings from plain values, as TOML and JSON have them: lists for tuples, text for paths.

        Raises:
            ValueError: an unknown or impossible setting; says which.
        """
        try:
            return cls.model_validate_json(
                json.dumps(renamed(cls, values), default=_plain, ensure_ascii=False).encode()
            )
        except ValidationError as error:
            raise ValueError(explain(error, cls)) from error
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{error.object[error.start : error.end]!a} is no character; remove it from what is given"
            ) from error

    def to_values(self) -> dict[str, Any]:
        """These settings as plain values that `from_values` reads back as equal. What is none is left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """These settings as TOML that `from_toml` reads back as equal."""
        return tomli_w.dumps(self.to_values())


def renamed(kind: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values by the names that settings have now, in all tables; a warning reports each old name once.

    Raises:
        ValueError: a setting is given by its old name and by its new one.
    """
    for old, new in kind.RENAMED.items():
        if old in values:
            if new in values:
                raise ValueError(f"{old}: is called {new} now, and both are given; remove {old}")
            _warn_of(old, new)
    now = {kind.RENAMED.get(name, name): value for name, value in values.items()}
    inner = {name: next(_tables_in(field.annotation), None) for name, field in kind.model_fields.items()}
    return {name: _renamed_in(inner.get(name), value) for name, value in now.items()}


def _renamed_in(kind: type | None, value: Any) -> Any:
    if kind is None or not issubclass(kind, Settings):
        return value
    if isinstance(value, list | tuple):
        return [_renamed_in(kind, item) for item in value]
    return renamed(kind, value) if isinstance(value, Mapping) else value


@cache
def _warn_of(old: str, new: str) -> None:
    logger.warning("%s is called %s now; the old name is still read", old, new)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: the file is missing or is not TOML.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a recipe, a TOML file")
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{path}: {size:,} bytes are no recipe, at most {LARGEST:,}; give the path of a TOML file")
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are no TOMLDecodeErrors
        raise ValueError(f"{path}: not TOML: {error}") from error


def explain(
    error: ValidationError, kind: type[Settings] | None = None, *, names: Mapping[str, str] | None = None
) -> str:
    """Pydantic's complaints in one line: each setting's dotted name, what is wrong, and the value received.

    Args:
        error: of a validation.
        kind: of the settings that were validated; an unknown setting is then told with the known one it may mean.
        names: what the user calls settings that have other names here.
    """
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")  # a typo explains the rest
    return "; ".join(_explained(fault, kind, names or {}) for fault in faults)


def _explained(fault: Any, kind: type[Settings] | None, names: Mapping[str, str]) -> str:
    name = ".".join(str(names.get(str(part), part)) for part in fault["loc"]) or "settings"
    if fault["type"] == "extra_forbidden":
        known = meant(name, names_of(kind)) if kind else None
        return f"{name}: unknown" + (f"; did you mean {known}?" if known else f" (received {fault['input']!r:.100})")
    return f"{name}: {fault['msg']} (received {fault['input']!r:.100})"


def names_of(kind: type) -> list[str]:
    """The dotted names of all settings of a kind, tables first and then what is in them."""
    return [name for name, _ in _annotated(kind)]


def meant(name: str, known: list[str]) -> str | None:
    """The known dotted name that somebody may have meant: the most like it in the same table, or in another one."""
    place, _, last = name.rpartition(".")
    table = ".".join(part for part in place.split(".") if not part.isdigit())  # which one of a list is no matter
    beside: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for each in reversed(known):
        where, _, own = each.rpartition(".")
        elsewhere[own] = each
        if where == table:
            beside[own] = f"{place}.{own}" if place else own
    for names, likeness in ((beside, 0.6), (elsewhere, 0.8)):
        if close := difflib.get_close_matches(last, names, n=1, cutoff=likeness):
            return names[close[0]]
    return None


def _annotated(kind: type, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    own = {name: field.annotation for name, field in kind.model_fields.items()} if issubclass(kind, Settings) else {}
    if is_dataclass(kind):
        own = {field.name: field.type for field in fields(kind)}
    for name, annotation in own.items():
        yield ".".join((*path, name)), annotation
        for inner in _tables_in(annotation):
            yield from _annotated(inner, (*path, name))


def _tables_in(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, Settings)):
        yield annotation
    for part in get_args(annotation):
        yield from _tables_in(part)


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise ValueError(f"{value!r} is no setting; give text, a number, true, false, a list or a table")
