"""Arguments of public functions, looked at when they are called: what is of another kind than declared is refused.

The declaration is the function's own signature; a library beneath might read something else into a wrong value. Knows
nothing of what the functions do.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache, wraps
from types import UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BeforeValidator, ConfigDict, GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core import core_schema

from refilm.names import known_elsewhere
from refilm.settings import meant

P = ParamSpec("P")
R = TypeVar("R")
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a public function: it then takes nothing but what its annotations say, before anything is done.

    No kind is made into another: "4" and True are no integers. NumPy's numbers are numbers. An argument by a name
    that the function doesn't have is answered with the one that it has.

    Raises:
        ValueError: (the decorated function) an argument of another kind, or an unknown one; in one line.
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
    def door(*given: P.args, **named: P.kwargs) -> R:
        strange = [] if takes_any else [name for name in named if name not in names]
        if strange:
            raise ValueError(known_elsewhere(strange[0]) or _unknown(strange[0], names))
        bound = signature.bind(*given, **named)
        for name, adapter in adapters().items():
            if name in bound.arguments:
                try:
                    bound.arguments[name] = adapter.validate_python(bound.arguments[name])
                except ValidationError as error:
                    raise ValueError(_told(name, error)) from None
        return function(*bound.args, **bound.kwargs)

    return door


def plain(value: Any) -> Any:
    """A NumPy number as Python's; all else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _listed(value: Any) -> Any:
    """Any sequence but a text as a list: a range, a tuple, an array."""
    return list(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes) else value


def _unknown(name: str, known: list[str]) -> str:
    near = meant(name, known)
    return f"{name}: unknown; " + (f"did you mean {near}?" if near else f"there are {', '.join(sorted(known))}")


def _strictly(hint: Any) -> Any:
    """The annotation as pydantic is to read it: numbers of NumPy too, objects by their class alone."""
    if get_origin(hint) is Annotated:
        kind, *more = get_args(hint)
        return Annotated[(_strictly(kind), *more)]
    if hint in (int, float):
        return Annotated[hint, BeforeValidator(plain)]
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(map(_strictly, get_args(hint)))]  # noqa: UP007  # made of what is known when it runs
    if get_origin(hint) is Sequence:
        return Annotated[list[_strictly(*get_args(hint))], BeforeValidator(_listed)]
    if not isinstance(hint, type) or hint in (str, bool, type(None)) or get_origin(hint):
        return hint
    if getattr(hint, "_is_protocol", False):
        return Callable[..., Any]
    return Annotated[Any, GetPydanticSchema(lambda *_: core_schema.is_instance_schema(hint))]


def _told(name: str, error: ValidationError) -> str:
    found = error.errors()
    deepest = max(len(fault["loc"]) for fault in found)
    first, *_ = faults = [fault for fault in found if len(fault["loc"]) == deepest]  # of a union the kind that is meant
    place = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
    wrong = " or ".join(dict.fromkeys(fault["msg"] for fault in faults))
    return f"{name}{place}: {wrong} (received {received(first['input'])})"


def received(value: Any) -> str:
    """A value in a few words: what is short as Python writes it, all else by its kind."""
    short = isinstance(value, str | int | float | type(None)) and len(repr(value)) <= 60
    return repr(value) if short else f"a {type(value).__name__}"
