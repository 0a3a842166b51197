"""Text and JSON in UTF-8, independent of the locale."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refilm.errors import UserError
from refilm.files.atomic import write_bytes


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, independent of the locale and without a byte order mark.

    Raises:
        UserError: the file is not UTF-8. The error names it.
        OSError: the file cannot be read. The error names it.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file with Unix line endings, atomically.

    Raises:
        UserError: the text contains characters that cannot be encoded (lone surrogates).
        OSError: the file cannot be written. The error names it.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        wrong = text[error.start : error.end]
        raise UserError(f"{path}: {wrong!a} is not a valid character; remove it from the text") from error
    write_bytes(path, content)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: the file is missing or does not contain a JSON object. The error names it.
        OSError: the file cannot be read. The error names it.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # numbers with thousands of digits raise ValueError
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must contain a JSON object (received {type(content).__name__})")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as indented JSON, atomically.

    Raises:
        UserError: `content` contains NaN or infinity, which are not valid JSON.
        OSError: the file cannot be written. The error names it.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
