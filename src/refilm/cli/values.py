"""Values of a recipe on the command line: NAME=VALUE."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from refilm.errors import UserError


def named_value(text: str, option: str, example: str) -> tuple[str, str]:
    """The name, as settings write it, and the text of its value.

    Raises:
        UserError: the text has another form; names the option.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserError(f"{option} {text!r:.100}: give NAME=VALUE, for example {example}")
    subject, dot, last = name.strip().rpartition(".")  # the name of a subject is the user's
    return subject + dot + last.replace("-", "_"), value.strip()


def changes(texts: Sequence[str]) -> dict[str, Any]:
    """The values of `--set`, by name.

    Raises:
        UserError: a text has another form, or a name is given twice.
    """
    pairs = [named_value(text, "--set", "steps=50") for text in texts]
    if repeated := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
        raise UserError(f"--set {repeated[0]}: given twice; give it once")
    return {name: typed(value) for name, value in pairs}


def typed(text: str) -> Any:
    """A value as in TOML (50, 0.5, true, "a text"); any other text is itself."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except ValueError:
        return text.strip()
