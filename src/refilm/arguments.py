"""Check the arguments of public functions against their annotations when the functions are called.

A value of a wrong type is refused here, before a library can misinterpret it. This module does not depend on what
the functions do.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache, wraps
from types import UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BeforeValidator, ConfigDict, GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core import core_schema

from refilm.errors import UserError
from refilm.names import known_elsewhere
from refilm.settings import meant

P = ParamSpec("P")
R = TypeVar("R")
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator for public functions: arguments are checked against the annotations before the function runs.

    Types are not converted: "4" and True are not integers. NumPy scalars count as numbers. For an unknown keyword,
    the error suggests the closest parameter name.

    Raises:
        UserError: (from the decorated function) an argument has a wrong type or an unknown name. The message is one
            line.
    """
    signature = inspect.signature(function)
    every = signature.parameters.items()
    names = [name for name, one in every if name != "self" and one.kind is not one.VAR_KEYWORD]
    takes_any = any(one.kind is one.VAR_KEYWORD for _, one in every)

    @cache
    def adapters() -> dict[str, TypeAdapter[Any]]:
        hints = get_type_hints(function, include_extras=True)
        return {name: TypeAdapter(_strictly(hints[name]), config=STRICT) for name in names if name in hints}

    @wraps(function)
    def wrapper(*given: P.args, **named: P.kwargs) -> R:
        unknown = [] if takes_any else [name for name in named if name not in names]
        if unknown:
            raise UserError(known_elsewhere(unknown[0]) or _unknown(unknown[0], names))
        bound = signature.bind(*given, **named)
        for name, adapter in adapters().items():
            if name in bound.arguments:
                try:
                    bound.arguments[name] = adapter.validate_python(bound.arguments[name])
                except ValidationError as error:
                    raise UserError(_message(name, error)) from None
        return function(*bound.args, **bound.kwargs)

    return wrapper


def plain(value: Any) -> Any:
    """Convert a NumPy scalar to a Python number; other values are returned unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def _listed(value: Any) -> Any:
    """Convert any sequence except text (a range, a tuple, an array) to a list."""
    return list(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes) else value


def _unknown(name: str, known: list[str]) -> str:
    near = meant(name, known)
    return f"{name}: unknown; " + (f"did you mean {near}?" if near else f"choose from {', '.join(sorted(known))}")


def _strictly(hint: Any) -> Any:
    """The annotation in the form that pydantic checks: NumPy scalars are accepted, objects are checked by class."""
    if get_origin(hint) is Annotated:
        kind, *more = get_args(hint)
        return Annotated[(_strictly(kind), *more)]
    if hint in (int, float):
        return Annotated[hint, BeforeValidator(plain)]
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(map(_strictly, get_args(hint)))]  # noqa: UP007  # built at run time
    if get_origin(hint) is Sequence:
        return Annotated[list[_strictly(*get_args(hint))], BeforeValidator(_listed)]
    if not isinstance(hint, type) or hint in (str, bool, type(None)) or get_origin(hint):
        return hint
    if getattr(hint, "_is_protocol", False) and "__call__" in vars(hint):
        return Callable[..., Any]
    return Annotated[Any, GetPydanticSchema(lambda *_: core_schema.is_instance_schema(hint))]


def _message(name: str, error: ValidationError) -> str:
    found = error.errors()
    deepest = max(len(fault["loc"]) for fault in found)
    first, *_ = faults = [fault for fault in found if len(fault["loc"]) == deepest]  # of a union, the best match
    place = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
    wrong = " or ".join(dict.fromkeys(fault["msg"] for fault in faults))
    return f"{name}{place}: {wrong} (received {received(first['input'])})"


def received(value: Any) -> str:
    """A short description of a value: its `repr` if that is short, otherwise its type."""
    short = isinstance(value, str | int | float | type(None)) and len(repr(value)) <= 60
    return repr(value) if short else f"a {type(value).__name__}"
