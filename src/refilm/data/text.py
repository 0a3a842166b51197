"""Text files of strangers: UTF-8, numbered lines, and none that is longer than text of people is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refilm.files import describe

LONGEST = 2**20  # characters of a line, or bytes of a file with one caption
UTF16 = b"\xff\xfe", b"\xfe\xff"  # byte order marks
REMEDY = "save it as UTF-8"


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their ends, numbered from 1; a byte order mark is left out.

    Raises:
        ValueError: a line is no text in UTF-8, or longer than 2**20 characters; names it.
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
                raise ValueError(f"{place}: is longer than {LONGEST:,} characters; no line of clips is, so mend it")
            if "\0" in line:
                raise ValueError(f"{place}: holds NUL characters, as text in UTF-16 does; {REMEDY}")
            try:
                line.encode()
            except UnicodeEncodeError as error:
                byte = ord(line[error.start]) - 0xDC00
                raise ValueError(
                    f"{place}: not text in UTF-8 (byte {byte:02x} after {error.start} characters); {REMEDY}"
                ) from error
            yield number, line


def read_short(path: Path) -> str:
    """The text of a file with one caption; a byte order mark is left out.

    Raises:
        ValueError: as `decoded`, or the file cannot be read; names it.
    """
    try:
        with path.open("rb") as file:
            return decoded(file.read(LONGEST + 1), str(path))
    except OSError as error:
        raise ValueError(describe(error)) from error


def decoded(content: bytes, place: str) -> str:
    """The text of a file that holds one caption or the like; a byte order mark is left out.

    Raises:
        ValueError: it is no text in UTF-8, or longer than 2**20 bytes; names the place.
    """
    _assert_no_utf16(content[:2], place)
    if len(content) > LONGEST:
        raise ValueError(f"{place}: is longer than {LONGEST:,} bytes; no caption is, so mend it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise ValueError(f"{place}: not text in UTF-8 ({reason}); {REMEDY}") from error


def parsed(text: str, place: str) -> dict[str, Any]:
    """The object that a text in JSON is.

    Raises:
        ValueError: it is none; names the place.
    """
    try:
        told = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are ValueErrors
        raise ValueError(f"{place}: its JSON cannot be read ({error}); mend it") from error
    if not isinstance(told, dict):
        raise ValueError(f"{place}: its JSON must be an object, received {type(told).__name__}")
    return told


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


def _assert_no_utf16(head: bytes, place: str) -> None:
    if head in UTF16:
        raise ValueError(f"{place}: not text in UTF-8, but in UTF-16; {REMEDY}")
