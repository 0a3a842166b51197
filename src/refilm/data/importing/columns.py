"""A clip from the named values of a table's row, whatever the table is kept in."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refilm.data.importing.rows import Blob, File, Row

FIELDS = ("video", "caption", "references", "start", "end", "subject", "mask")
SEPARATOR = ";"


@dataclass(frozen=True)
class Columns:
    """Which column says what: by default that of the same name, and `reference` will do for `references`."""

    names: Mapping[str, str]

    @classmethod
    def parse(cls, text: str | None) -> "Columns":
        """From "video=path,caption=text".

        Raises:
            ValueError: another form, or a field that clips have not.
        """
        names = {}
        for part in text.split(",") if text else []:
            field, equals, column = (word.strip() for word in part.partition("="))
            if field not in FIELDS or not equals or not column:
                form = "for instance video=path,caption=text"
                raise ValueError(f"--columns {part!r}: give one of {', '.join(FIELDS)} and its column, {form}")
            names[field] = column
        return cls(names)

    def values(self, row: Mapping[str, Any], place: str) -> dict[str, Any]:
        """The values of a row by field; those that are empty are left out.

        Raises:
            ValueError: a column that was named is not there, or none for the video or the caption.
        """
        values = {}
        for field in FIELDS:
            column = self.names.get(field, field)
            if column not in row and field == "references" and field not in self.names:
                column = "reference"
            if column in row:
                values[field] = row[column]
            elif field in self.names or field in ("video", "caption"):
                has = ", ".join(map(repr, row))
                raise ValueError(f"{place}: no column {column!r}, only {has}; say which it is, --columns {field}=...")
        return {field: value for field, value in values.items() if not _empty(value)}


@dataclass(frozen=True)
class Files:
    """Which files the paths of a table may name: those in its folder, or with `allow_outside` all."""

    folder: Path
    allow_outside: bool

    def __call__(self, value: Any, place: str) -> File:
        """A file from its content, its path, or both in one value, as the datasets library keeps them.

        Raises:
            ValueError: it is none of these, missing, or outside.
        """
        if isinstance(value, Mapping) and {"bytes", "path"} <= set(value):
            if value["bytes"] is not None:
                return Blob(value["bytes"], str(value["path"] or ""))
            value = value["path"]
        if isinstance(value, bytes):
            return Blob(value)
        if not isinstance(value, str):
            raise ValueError(f"{place}: a file must be its content or its path, received {type(value).__name__}")
        return self.at(value, place)

    def at(self, name: str, place: str) -> File:
        """The file of that path."""
        path = self.folder / name.strip()
        try:
            outside = not path.resolve().is_relative_to(self.folder.resolve())
            missing = not path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, a loop of links
            raise ValueError(f"{place}: {name!r} cannot be a path ({error}); mend it") from error
        if outside and not self.allow_outside:
            raise ValueError(f"{place}: {name!r} leads out of {self.folder}; give --allow-outside if that is meant")
        if missing:
            raise ValueError(f"{place}: {name!r} is no file in {self.folder}; mend the path, or add the file")
        return path


def row_of(row: Mapping[str, Any], columns: Columns, files: Files, place: str) -> Row:
    """The clip of a table's row.

    Raises:
        ValueError: it lacks its video, or a value is of no use; names the place and the column.
    """
    values = columns.values(row, place)
    if "video" not in values:
        raise ValueError(f"{place}: has no video; add it, or remove the row")
    caption = values.get("caption", "")
    if not isinstance(caption, str):
        raise ValueError(f"{place}: the caption must be text, received {type(caption).__name__}")
    mask, start, end = values.get("mask"), _seconds(values, "start", place), _seconds(values, "end", place)
    if end is not None and end <= (start or 0):
        raise ValueError(f"{place}: end must come after start, {start or 0:g} s, but is {end:g} s")
    return Row(
        video=files(values["video"], place),
        caption=caption,
        references=tuple(_reference(item, files, place) for item in _items(values.get("references"))),
        start=start,
        end=end,
        subject=str(values["subject"]) if "subject" in values else None,
        mask=None if mask is None else files(mask, place),
    )


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        return [name for name in value.split(SEPARATOR) if name.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _reference(item: Any, files: Files, place: str) -> tuple[File, File | None]:
    if isinstance(item, Mapping) and "picture" in item:
        mask = item.get("mask")
        return files(item["picture"], place), None if mask is None else files(mask, place)
    return files(item, place), None


def _seconds(values: Mapping[str, Any], field: str, place: str) -> float | None:
    if field not in values:
        return None
    try:
        seconds = float(values[field])
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{place}: {field} must be seconds, 0 or more, received {values[field]!r}")
    return seconds
