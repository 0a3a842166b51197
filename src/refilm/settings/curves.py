"""Curves: a factor over the steps, the frames or the blocks of a generation, written as a number, a text or a list.

    0.8                  constant
    "0..1"               rises evenly from the first to the last
    "5-14"               1 from the 5th to the 14th, 0 elsewhere
    "1:0 9:0 10:1"       given at some places, straight lines between them, constant before the first and after the last
    [1, 0.5, 0.25]       one value for each; in Python any sequence or array

Places are counted from 1.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from numbers import Real
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from refilm.errors import UserError

LARGEST = 10.0
FORMS = '0.8 (constant), "0..1" (a ramp), "5-14" (there only), "1:0 9:1" (values at places) or a list of values'
_NUMBER, _PLACE = r"([0-9]{1,4}(?:\.[0-9]{1,9})?)", r"([0-9]{1,6})"
_KINDS = {
    "ramp": re.compile(rf"{_NUMBER}\.\.{_NUMBER}"),
    "range": re.compile(rf"{_PLACE}-{_PLACE}"),
    "keys": re.compile(rf"{_PLACE}:{_NUMBER}"),
}
_SPACED = re.compile(r"\s*(\.\.|-|:)\s*")
Pairs = Sequence[tuple[float, float]]


def values_along(curve: Any, count: int, *, of: str) -> tuple[float, ...]:
    """The value of a curve at each of `count` places.

    Args:
        curve: the curve: a number, a text, or a list, tuple, range or array of numbers.
        count: number of places.
        of: the places in errors, for example "steps".

    Raises:
        UserError: the curve is invalid, has places beyond `count`, or a list has another number of values.
    """
    try:
        plain = _valid(curve)
    except PydanticCustomError as error:
        raise UserError(f"{error.message()} (received {curve!r:.100})") from None
    if isinstance(plain, str):
        return _along(plain, count, of)
    values = plain if isinstance(plain, tuple) else (plain,) * count
    if len(values) != count:
        raise UserError(
            f"{len(values)} values for {count} {of}: give one for each, or values at places, as in 1:0 {count}:1"
        )
    return values


def _along(text: str, count: int, of: str) -> tuple[float, ...]:
    import numpy as np  # options of commands are made from settings, and should not wait for it

    kind, pairs = _parsed(text)
    places = np.arange(1, count + 1)
    if kind == "ramp":
        return tuple(np.linspace(*pairs[0], count).tolist())
    last = pairs[0][1] if kind == "range" else pairs[-1][0]
    if last > count:
        raise UserError(f"{text!r}: there are {count} {of}; give places from 1 to {count}")
    if kind == "range":
        first, last = pairs[0]
        return tuple(((places >= first) & (places <= last)).astype(float).tolist())
    given, values = np.array(pairs).T
    return tuple(np.interp(places, given, values).tolist())


def _parsed(text: str) -> tuple[Literal["ramp", "range", "keys"], Pairs]:
    """The form of a curve, and its pairs of numbers: the ends of a ramp or a range, or places with their values."""
    text = _SPACED.sub(r"\1", text.strip())
    if re.fullmatch(_NUMBER, text):
        return "ramp", [(float(text), float(text))]
    for kind in ("ramp", "range", "keys"):
        parts = re.split(r"[\s,]+", text) if kind == "keys" else [text]
        found = [match for match in map(_KINDS[kind].fullmatch, parts) if match]
        if len(found) == len(parts):
            return kind, [(float(match[1]), float(match[2])) for match in found]
    raise PydanticCustomError("curve", "must be {forms}", {"forms": FORMS})


def _valid(curve: Any) -> float | str | tuple[float, ...]:
    """A curve as a number, a text or a tuple of numbers.

    Raises:
        PydanticCustomError: it is none of these, or has a value or a place that is not allowed.
    """
    plain = _plain(curve)
    if isinstance(plain, str):
        kind, pairs = _parsed(plain)
        places = {"ramp": [], "range": pairs[0], "keys": [place for place, _ in pairs]}[kind]
        if 0 in places or any(one > other or (one == other and kind == "keys") for one, other in pairwise(places)):
            raise PydanticCustomError("curve", "places must rise, and are counted from 1")
        _require_allowed({"ramp": pairs[0], "range": (), "keys": [value for _, value in pairs]}[kind])
        return plain
    _require_allowed(plain if isinstance(plain, tuple) else (plain,))  # before an integer is too large for a float
    return tuple(map(float, plain)) if isinstance(plain, tuple) else float(plain)


def _require_allowed(values: Sequence[float]) -> None:
    if not all(0 <= value <= LARGEST for value in values):  # NaN fails, too
        raise PydanticCustomError("curve", "values must be 0 to {largest}", {"largest": f"{LARGEST:g}"})


def _plain(curve: Any) -> float | str | tuple[float, ...]:
    if isinstance(curve, str):
        return curve
    if not isinstance(curve, Real | Sequence):
        import numpy as np

        curve = curve.tolist() if isinstance(curve, np.ndarray) else curve
    if _is_number(curve):
        return curve
    if isinstance(curve, Sequence) and not isinstance(curve, bytes) and curve and all(map(_is_number, curve)):
        return tuple(curve)
    raise PydanticCustomError("curve", "must be {forms}", {"forms": FORMS})


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


Value = Annotated[float, Field(ge=0, le=LARGEST)]
Curve = Annotated[Value | str | tuple[Value, ...], BeforeValidator(_valid)]
"""A factor over places, 0 to 10."""
