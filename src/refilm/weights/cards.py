"""Settings in the header of a safetensors file, which say what its tensors are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open

from refilm.errors import UserError
from refilm.settings import Settings

T = TypeVar("T", bound=Settings)


def read_card(path: Path, kind: type[T], *, key: str, what: str, version: int, made_by: str, again: str) -> T:
    """The settings of a file.

    Args:
        path: the file.
        kind: their class.
        key: their name in the header.
        what: what such a file is called, for errors.
        version: the latest version that is read, the setting `format`.
        made_by: says how such a file is made, for errors.
        again: says what to do if the file is damaged.

    Raises:
        UserError: the file is missing, of another kind, of a later version, or damaged; names it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; {made_by}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
        values = json.loads(metadata[key])
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: is truncated or not a {what}; {made_by}") from error
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: not a {what}; {made_by}") from error
    if isinstance(values, dict) and isinstance(found := values.get("format"), int) and found > version:
        raise UserError(f"{path}: a {what} of version {found}, this refilm reads up to {version}; update refilm")
    try:
        return kind.from_values(values)
    except (UserError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its description is damaged: {error}; {again}") from error
