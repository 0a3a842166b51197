"""Reads lists of videos, JSONL or CSV. Both give the same rows.

A file that cannot be read, or a column that does not exist, is an error of the whole list. An invalid value makes one
row invalid: its job has an error in place of settings.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refilm.arguments import checked
from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.files import read_text
from refilm.jobs.job import Job, jobs_of
from refilm.jobs.row import Row
from refilm.settings.described import values_of

LISTS = ("reference", "negative_reference", "images", "image_masks", "words", "weights")
TEXTS = ("images", "image_masks", "words", "mask", "file")
NUMBERS = {
    name
    for kind in (Row, Subject)
    for name, field in kind.model_fields.items()
    if any(number in values_of(field.annotation, field.metadata) for number in ("integer", "number"))
}
"""Columns whose cells can be numbers."""


@checked
def read_jobs(path: Path | str) -> list[Job]:
    """The jobs of a list: a JSON object per line (.jsonl), or a table with a header (.csv).

    Paths of images count from the folder of the list.

    Raises:
        UserError: the file cannot be read, has an unknown column, or gives two rows the same output file; names the
            file and the line.
        OSError: the file cannot be read. The error names it.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".csv"):
        raise UserError(f"{path}: give a list of videos, .jsonl or .csv")
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a list of videos, .jsonl or .csv")
    text = read_text(path)
    rows = [*(_json_lines(path, text) if path.suffix == ".jsonl" else _table(path, text))]
    if not rows:
        raise UserError(f"{path}: has no rows; give each video a row")
    return jobs_of(rows, path.parent.resolve() / path.name)


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{path}:{number}"
            yield place, {name: value for name, value in _object(line, place).items() if value is not None}


def _object(line: str, place: str) -> dict[str, Any]:
    """The object in a line. Its numbers may be NaN, infinite or too long: such a value makes only its row invalid."""
    try:
        values = json.loads(line, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not valid JSON ({error}); fix the syntax") from error
    if not isinstance(values, dict):
        raise UserError(f"{place}: must be a JSON object, received {type(values).__name__}")
    return values


def _integer(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:  # Python's limit is thousands of digits
        return float(text)


def _table(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a CSV table. Empty cells are not given."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        columns = next(reader, [])
        _require_columns(path, columns)
        line = reader.line_num + 1
        for cells in reader:
            place = f"{path}:{line}"
            if cells and len(cells) != len(columns):
                raise UserError(f"{place}: has {len(cells)} cells, the header {len(columns)}; quote cells with commas")
            if any(cells):
                yield place, _nested({name: cell for name, cell in zip(columns, cells, strict=True) if cell})
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{line}: not CSV: {error}") from error


def _require_columns(path: Path, columns: list[str]) -> None:
    if repeated := [name for name in columns if columns.count(name) > 1]:
        raise UserError(f"{path}:1: two columns are named {repeated[0]!r:.100}; remove one")
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        raise UserError(f"{path}:1: columns must be separated by commas; save the table as CSV with commas")
    if "prompt" not in columns:
        raise UserError(f"{path}:1: there is no column prompt; give the names of the columns in the first line")


def _nested(cells: dict[str, str]) -> dict[str, Any]:
    """The values of a row; the column subjects.fox.images is a value of the table fox in the table subjects."""
    values: dict[str, Any] = {}
    for column, cell in cells.items():
        parts = column.split(".")
        if len(parts) == 3 and parts[0] == "subjects":
            table = values.setdefault("subjects", {}).setdefault(parts[1], {})
            table[parts[2]] = _value(parts[2], cell)
        else:
            values[column] = _value(column, cell)
    return values


def _value(name: str, cell: str) -> Any:
    """What a cell of a column means: lists are separated by commas, as on the command line."""
    if name in LISTS:
        return [_single(name, part.strip()) for part in cell.split(",")]
    return _single(name, cell)


def _single(name: str, text: str) -> Any:
    """A number where the column has numbers, otherwise the text. Settings refuse what is neither."""
    if name not in NUMBERS or name in TEXTS:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if type(value) in (int, float) else text
