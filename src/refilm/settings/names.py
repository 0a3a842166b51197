"""The names of settings: in errors, and the name that was meant by an unknown one."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

QUOTED = {"int_type": r"[+-]?\d+", "float_type": r"[+-]?(\d+\.?\d*|\.\d+)", "bool_type": "true|false"}
"""Pydantic's errors about types, and the texts that would be such values without quotes."""


def explain(
    error: ValidationError, kind: type[BaseModel] | None = None, *, names: Mapping[str, str] | None = None
) -> str:
    """Pydantic's errors in one line: each setting's dotted name, what is wrong, and the value received.

    Args:
        error: the validation error.
        kind: the validated settings class; with it, the message for an unknown setting suggests a similar one.
        names: the user's names of settings that have other names in code.
    """
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")  # a typo explains the rest
    return "; ".join(_explained(fault, kind, names or {}) for fault in faults)


def _explained(fault: Any, kind: type[BaseModel] | None, names: Mapping[str, str]) -> str:
    own = ".".join(map(str, fault["loc"]))
    name = ".".join(str(names.get(str(part), part)) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = meant(own, names_of(kind)) if kind else None
        return f"{name}: unknown" + (f"; did you mean {known}?" if known else f" (received {fault['input']!r:.100})")
    wrong = fault["msg"].removeprefix("Value error, ")  # pydantic's prefix of a UserError
    if not name and fault["type"] == "value_error":  # of all settings together; says which
        return wrong
    return f"{name or 'settings'}: {wrong} (received {fault['input']!r:.100})" + _fix(fault["type"], fault["input"])


def _fix(wrong: str, value: Any) -> str:
    """How to fix a value of the wrong type, if that is only a matter of quotes."""
    if isinstance(value, str) and wrong in QUOTED and re.fullmatch(QUOTED[wrong], value, re.ASCII):
        return "; write it without quotes"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "; write it in quotes" if wrong == "string_type" and number else ""


def names_of(kind: type) -> list[str]:
    """The dotted names of all settings of a class; each table before its contents."""
    return [name for name, _ in _annotated(kind)]


def meant(name: str, known: list[str]) -> str | None:
    """The most similar known dotted name: in the same table if there is one, otherwise in any table."""
    place, _, last = name.rpartition(".")
    table = ".".join(part for part in place.split(".") if not part.isdigit())  # positions in a list do not matter
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
    own = {name: field.annotation for name, field in kind.model_fields.items()} if issubclass(kind, BaseModel) else {}
    if is_dataclass(kind):
        own = {field.name: field.type for field in fields(kind)}
    for name, annotation in own.items():
        yield ".".join((*path, name)), annotation
        for inner in tables_in(annotation):
            yield from _annotated(inner, (*path, name))


def tables_in(annotation: Any) -> Iterator[type]:
    """The classes of settings in an annotation."""
    if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel)):
        yield annotation
    for part in get_args(annotation):
        yield from tables_in(part)
