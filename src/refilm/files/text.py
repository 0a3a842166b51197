"""Text and JSON in UTF-8, whatever the locale is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refilm.files.atomic import write_bytes


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, whatever the locale is; a byte order mark is left out.

    Raises:
        ValueError: the file is not UTF-8; names it.
        OSError: it cannot be read; names it.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 with Unix line ends, whole or not at all.

    Raises:
        ValueError: the text has characters that no file can store (lone surrogates).
        OSError: it cannot be written; names it.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        wrong = text[error.start : error.end]
        raise ValueError(f"{path}: {wrong!a} is not a character; remove it from what is written there") from error
    write_bytes(path, content)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: the file is missing or is not a JSON object; names it.
        OSError: it cannot be read; names it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are ValueErrors
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must contain a JSON object (received {type(content).__name__})")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as readable JSON, whole or not at all.

    Raises:
        ValueError: NaN or infinity, which are not JSON.
        OSError: it cannot be written; names it.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
