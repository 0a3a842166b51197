"""Descriptions of settings, made from their classes: allowed values in words, defaults in TOML."""

import json
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from refilm.settings.names import tables_in

WORDS = {int: "integer", float: "number", str: "text", Path: "path", bool: "true or false"}


@dataclass(frozen=True)
class DefaultsFrom:
    """In the annotation of a table: where the defaults of some of its settings come from, if not from their class."""

    source: str
    """For example "the base model's"."""
    names: Sequence[str]


@dataclass(frozen=True)
class Setting:
    """A setting that is not a table."""

    name: str
    """Its name within its table."""
    values: str
    """What it can be, for example "integer, at least 1"."""
    default: str | None
    """The default in TOML; None: there is none."""
    required: bool
    example: str | None
    """A value in TOML, if the setting is required."""
    sentence: str


@dataclass(frozen=True)
class Table:
    """The settings of a class."""

    name: str
    """Dotted name; empty for the outermost table."""
    settings: tuple[Setting, ...]
    tables: tuple["Table", ...]
    repeated: bool = False
    """A list of such tables."""
    absent: bool = False
    """There is no such table by default."""

    def rows(self) -> Iterator[tuple[str, Setting]]:
        """All settings with their dotted names, each table before the tables in it."""
        for setting in self.settings:
            yield f"{self.name}.{setting.name}".lstrip("."), setting
        for table in self.tables:
            yield from table.rows()


def table_of(kind: type, name: str = "", *, within: FieldInfo | None = None) -> Table:
    """Describe a class. `within` is the field that contains it, whose default can differ from the class's own."""
    settings, tables = [], []
    defaults = within.default if within else None
    elsewhere = next((each for each in within.metadata if isinstance(each, DefaultsFrom)), None) if within else None
    for own, field in _fields(kind).items():
        field = copy(field)
        if isinstance(defaults, kind):
            field.default = getattr(defaults, own)
        if elsewhere and own in elsewhere.names:
            field.default, field.description = None, f"{field.description} Default: {elsewhere.source}."
        inner = next(tables_in(field.annotation), None)
        if inner is None:
            settings.append(_setting(own, field))
        else:
            tables.append(table_of(inner, f"{name}.{own}".lstrip("."), within=field))
    return Table(
        name,
        tuple(settings),
        tuple(tables),
        repeated=within is not None and get_origin(within.annotation) is tuple,
        absent=within is not None and within.default is None,
    )


def _fields(kind: type) -> dict[str, FieldInfo]:
    """The fields of a settings class, or of a dataclass that pydantic validates."""
    if issubclass(kind, BaseModel):
        return kind.model_fields
    hints, sentences = get_type_hints(kind, include_extras=True), {}
    for parent in reversed([each for each in kind.__mro__ if is_dataclass(each)]):
        properties = TypeAdapter(parent).json_schema()["properties"]
        sentences |= {name: own["description"] for name, own in properties.items() if "description" in own}
    found = {}
    for field in fields(kind):
        default = PydanticUndefined if field.default is MISSING else field.default
        found[field.name] = FieldInfo.from_annotated_attribute(hints[field.name], default)
        found[field.name].description = sentences.get(field.name)
    return found


def _setting(name: str, field: FieldInfo) -> Setting:
    default = field.default
    (choice, *others) = get_args(field.annotation) or (None,)
    only = choice if get_origin(field.annotation) is Literal and not others else None
    example = next(iter(field.examples or ()), only)
    return Setting(
        name,
        values_of(field.annotation, field.metadata),
        None if default in (None, PydanticUndefined) else toml(default),
        required=default is PydanticUndefined,
        example=None if example is None else toml(example),
        sentence=" ".join((field.description or "").split()),
    )


def toml(value: Any) -> str:
    """A value in TOML, in one line."""
    return json.dumps(value, default=str, ensure_ascii=False)


def values_of(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a value can be, in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values_of(parts[0], (*metadata, *parts[1:]))
    if origin in (Union, UnionType):
        return " or ".join(values_of(part, metadata) for part in parts if part is not NoneType)
    if origin is Literal:
        *others, last = map(toml, parts)
        return f"{', '.join(others)} or {last}" if others else last
    if origin in (tuple, list):
        first, *others = (values_of(part) for part in parts if part is not ...)
        return f"list of {len(others) + 1}: {first}" if others else f"list: {first}"
    return ", ".join(filter(None, (WORDS.get(annotation, "text"), range_of(metadata))))


def range_of(metadata: Sequence[Any]) -> str:
    """The range of a number in words, for example "1 to 999"; empty if there is none."""
    bounds: dict[str, Any] = {}
    for each in _bounds(metadata):
        bounds |= {name: value for name in ("ge", "gt", "le", "lt") if (value := getattr(each, name, None)) is not None}
    if bounds.keys() == {"ge", "le"}:
        return f"{_written(bounds['ge'])} to {_written(bounds['le'])}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[name]} {_written(value)}" for name, value in bounds.items())


def _bounds(metadata: Sequence[Any]) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from _bounds(each.metadata)
        elif isinstance(each, GroupedMetadata):
            yield from each
        elif isinstance(each, BaseMetadata):
            yield each


def _written(bound: float) -> str:
    if bound >= 2**62:
        return "2^63" if bound == 2**63 else "2^63 - 1"
    return f"{int(bound) if bound == int(bound) else bound:,}"
