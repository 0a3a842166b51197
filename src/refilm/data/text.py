"""Read untrusted text files: UTF-8 only, with numbered lines and a limit on their length."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refilm.errors import UserError
from refilm.files import describe

LONGEST = 2**20  # characters per line, or bytes of a file with one caption
UTF16 = b"\xff\xfe", b"\xfe\xff"  # byte order marks
REMEDY = "save it as UTF-8"


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their line endings, numbered from 1, without a byte order mark.

    Raises:
        UserError: a line is not UTF-8 text or is longer than 2**20 characters. The error names it.
        OSError: the file cannot be read.
    """
    with path.open("rb") as head:
        _assert_no_utf16(head.read(2), str(path))
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        number = 0
        while line := file.readline(LONGEST + 1):
            number += 1
            place = f"{path}:{number}"
            if len(line) > LONGEST:
                raise UserError(
                    f"{place}: the line is longer than {LONGEST:,} characters; check that this is a list of clips"
                )
            if "\0" in line:
                raise UserError(f"{place}: contains NUL characters, which usually means UTF-16; {REMEDY}")
            try:
                line.encode()
            except UnicodeEncodeError as error:
                byte = ord(line[error.start]) - 0xDC00
                raise UserError(
                    f"{place}: not UTF-8 text (byte {byte:02x} after {error.start} characters); {REMEDY}"
                ) from error
            yield number, line


def read_short(path: Path) -> str:
    """The text of a file with one caption, without a byte order mark.

    Raises:
        UserError: as `decoded`, or the file cannot be read. The error names it.
    """
    try:
        with path.open("rb") as file:
            return decoded(file.read(LONGEST + 1), str(path))
    except OSError as error:
        raise UserError(describe(error)) from error


def decoded(content: bytes, place: str) -> str:
    """Decode the content of a short text file, such as one caption, without a byte order mark.

    Raises:
        UserError: the content is not UTF-8 text or is longer than 2**20 bytes. The error names the place.
    """
    _assert_no_utf16(content[:2], place)
    if len(content) > LONGEST:
        raise UserError(f"{place}: the file is longer than {LONGEST:,} bytes; check that it contains one caption")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise UserError(f"{place}: not UTF-8 text ({reason}); {REMEDY}") from error


def parsed(text: str, place: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        UserError: the text is not a JSON object. The error names the place.
    """
    try:
        content = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:  # numbers with thousands of digits raise ValueError
        raise UserError(f"{place}: not valid JSON ({error}); fix the syntax") from error
    if not isinstance(content, dict):
        raise UserError(f"{place}: must be a JSON object, received {type(content).__name__}")
    return content


def _refused(constant: str) -> None:
    raise UserError(f"{constant} is not a valid number in JSON")


def _assert_no_utf16(head: bytes, place: str) -> None:
    if head in UTF16:
        raise UserError(f"{place}: not UTF-8 text but UTF-16; {REMEDY}")
