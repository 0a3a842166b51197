"""Values of a recipe on the command line: NAME=VALUE."""

import tomllib
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
    return name.strip().replace("-", "_"), value.strip()


def typed(text: str) -> Any:
    """A value as in TOML (50, 0.5, true, "a text"); any other text is itself."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except ValueError:
        return text.strip()
