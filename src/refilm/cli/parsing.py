"""Options whose text has a form of its own: sizes, ranges of steps, colors, and settings with values."""

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from refilm.errors import UserError
from refilm.settings import StepRange


def size_of(text: str | None) -> tuple[int | None, int | None]:
    """Height and width, from "WIDTHxHEIGHT"; (None, None) for None.

    Raises:
        UserError: the text has another form.
    """
    if text is None:
        return None, None
    match = re.fullmatch(r"([1-9][0-9]{0,5})\s*[xX×]\s*([1-9][0-9]{0,5})", text.strip())
    if match is None:
        raise UserError(f"--size {text!r:.100}: give width x height in pixels, for instance 720x480")
    width, height = map(int, match.groups())
    return height, width


def steps_of(text: str | None, steps: int) -> range | None:
    """The indices of sampler steps, from a `StepRange` of a run of `steps`; None for None.

    Raises:
        UserError: the text has another form, or the steps do not exist.
    """
    if text is None:
        return None
    try:
        return StepRange.of(text).indices(steps)
    except UserError as error:
        raise UserError(f"--explain-steps {text!r:.100}: {error}") from error


def changes_of(texts: Sequence[str]) -> dict[str, Any]:
    """Settings from "name=value". The value is parsed as TOML, or taken as a string if it is not TOML.

    Raises:
        UserError: the name or the "=" is missing.
    """
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not all(name.split(".")):
            raise UserError(f"--set {text!r}: give a setting's dotted name and its value, for instance loop.steps=10")
        changes[name.strip()] = _value(value)
    return changes


def _value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def color_of(text: str) -> tuple[int, int, int]:
    """Red, green and blue, from a color's name or "#rrggbb".

    Raises:
        UserError: the text is not a color.
    """
    try:
        from PIL import ImageColor

        red, green, blue, *_ = ImageColor.getrgb(text)
    except ValueError as error:
        raise UserError(
            f"--background {text!r}: is not a color; give a name, or red, green and blue as #rrggbb"
        ) from error
    return red, green, blue
