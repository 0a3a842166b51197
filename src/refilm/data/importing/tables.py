"""Import tables from text files: CSV, JSON Lines, and a file of captions with a file of video paths."""

import csv
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from refilm.data.importing.columns import Columns, FileResolver, clip_of, row_of
from refilm.data.importing.rows import ImportedClip
from refilm.data.text import lines, parsed
from refilm.errors import UserError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def csv_rows(path: Path, columns: Columns, *, allow_outside: bool) -> Iterator[ImportedClip]:
    """The clips of a CSV file with a header; paths are relative to it, and references are separated by `;`.

    Raises:
        UserError: the file is not valid CSV, or a row is invalid. The error names the line in which the row starts.
    """
    files, delimiter = FileResolver(path.parent, allow_outside), delimiter_of(path)
    rows = _csv(path, delimiter)
    _, header = next(rows, (1, []))
    twice = [name for name in columns.found(header, str(path)).values() if header.count(name) > 1] if header else []
    if twice:
        raise UserError(f"{path}: has two columns {twice[0]!r}; rename one of them")
    for number, values in rows:
        if len(values) != len(header):
            raise UserError(
                f"{path}:{number}: has {len(values)} values, but there are {len(header)} columns, separated by "
                f"{delimiter!r}; quote values that contain it"
            )
        yield row_of(dict(zip(header, values, strict=True)), columns, files, f"{path}:{number}")


def delimiter_of(path: Path) -> str:
    """The delimiter that splits the header of a CSV file into the most columns; a comma if none does."""
    header = next((line for _, line in lines(path)), "")
    return max(DELIMITERS, key=lambda delimiter: len(next(csv.reader([header], delimiter=delimiter), [])))


def json_rows(path: Path, columns: Columns, *, allow_outside: bool) -> Iterator[ImportedClip]:
    """The clips of a JSON Lines file, for example a manifest; paths are relative to it.

    Raises:
        UserError: a line is invalid. The error names it.
    """
    files = FileResolver(path.parent, allow_outside)
    for number, line in lines(path):
        place = f"{path}:{number}"
        if line.strip():
            row = parsed(line, place)
            source = {"source": row["source"]} if row.keys() >= {"video", "references", "source"} else {}
            yield clip_of(columns.values(row, place) | source, files, place)


def list_rows(captions: Path, videos: Path, *, allow_outside: bool) -> Iterator[ImportedClip]:
    """The clips of two files with one caption and one video per line; paths are relative to the latter.

    Raises:
        UserError: one file has more lines than the other, or a line is invalid. The error names it.
    """
    files = FileResolver(videos.parent, allow_outside)
    for number, (caption, video) in enumerate(zip_longest(_stripped_lines(captions), _stripped_lines(videos)), start=1):
        if caption is None or video is None:
            short, long = (captions, videos) if caption is None else (videos, captions)
            raise UserError(
                f"{short}: ends before line {number} of {long.name}; each clip must have a line in both files"
            )
        yield clip_of({"caption": caption, "video": video} if video else {}, files, f"{videos}:{number}")


def _stripped_lines(path: Path) -> Iterator[str]:
    """A file's lines without line endings and without empty lines at the end of the file."""
    empty = 0
    for _, line in lines(path):
        if line.strip():
            yield from [""] * empty
            yield line.strip()
        empty = 0 if line.strip() else empty + 1


def _csv(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The non-empty rows of a CSV file, each with the number of its first line."""
    reader = csv.reader((line for _, line in lines(path)), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = 'quote values that contain the delimiter, and double the quotes within them ("")'
            raise UserError(f"{path}:{number}: not valid CSV ({error}); {remedy}") from error
        if values:
            yield number, values
