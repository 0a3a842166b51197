"""Convert a table row with named values to a clip, independent of the table's format."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refilm.data.examples import LONGEST_SOURCE, LONGEST_VIDEO
from refilm.data.importing.rows import Blob, File, ImportedClip
from refilm.errors import UserError
from refilm.printable import printable

FIELDS = ("video", "caption", "references", "start", "end", "subject", "mask")
NEEDED = ("video", "caption")
ALSO = {
    "video": ("file_name", "image"),
    "caption": ("text", "prompt"),
    "references": ("reference",),
}  # alternative column names
SEPARATOR = ";"


@dataclass(frozen=True)
class Columns:
    """The column of each field: by default the column of the same name or of a name in `ALSO`."""

    names: Mapping[str, str]

    @classmethod
    def parse(cls, text: str | None) -> "Columns":
        """Parse "video=path,caption=text".

        Raises:
            UserError: the text has another form, or names an unknown field.
        """
        names = {}
        for part in text.split(",") if text else []:
            field, equals, column = (word.strip() for word in part.partition("="))
            if field not in FIELDS or not equals or not column:
                form = "for example video=path,caption=text"
                raise UserError(f"--columns {part!r}: assign a column to one of {', '.join(FIELDS)}, {form}")
            names[field] = column
        return cls(names)

    def found(
        self,
        columns: Collection[str],
        place: str,
        *,
        fields: Sequence[str] = FIELDS,
        needed: Sequence[str] | None = None,
    ) -> dict[str, str]:
        """The column of each field.

        Args:
            needed: fields that must have a column. Default: the video, the caption, and the fields with a given column.

        Raises:
            UserError: a column is missing, or several columns match.
        """
        found = {}
        for field in fields:
            own = self.names.get(field, field)
            names = [name for name in ALSO.get(field, ()) if name in columns and field not in self.names]
            names = [own] if own in columns else names
            remedy = f"choose the column with --columns {field}=..."
            if len(names) > 1:
                raise UserError(f"{place}: columns {' and '.join(map(repr, names))} both match the {field}; {remedy}")
            if names:
                found[field] = names[0]
            elif field in ((*NEEDED, *self.names) if needed is None else needed):
                raise UserError(f"{place}: has no column {own!r}, only {', '.join(map(repr, columns))}; {remedy}")
        return found

    def values(self, row: Mapping[str, Any], place: str, **options: Any) -> dict[str, Any]:
        """The values of a row by field, without empty ones. Options and errors are those of `found`."""
        found = self.found(row.keys(), place, **options)
        return {field: row[column] for field, column in found.items() if not _empty(row[column])}


@dataclass(frozen=True)
class FileResolver:
    """Resolves the paths of a table: files in its folder, or with `allow_outside` any file."""

    folder: Path
    allow_outside: bool

    def __call__(self, value: Any, place: str) -> File:
        """A file from its content, its path, or a dictionary with both, as in the datasets library.

        Raises:
            UserError: the value is none of these, or the file is missing or outside the folder.
        """
        if isinstance(value, File):
            return value
        if isinstance(value, Mapping) and {"bytes", "path"} <= set(value):
            if value["bytes"] is not None:
                return Blob(value["bytes"], str(value["path"] or ""))
            value = value["path"]
        if isinstance(value, bytes):
            return Blob(value)
        if not isinstance(value, str):
            raise UserError(
                f"{place}: a file must be given by its content or its path, received {type(value).__name__}"
            )
        return self.at(value, place)

    def at(self, name: str, place: str) -> File:
        """The file at a path."""
        path = self.folder / name.strip()
        try:
            outside = not path.resolve().is_relative_to(self.folder.resolve())
            missing = not path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, a link cycle
            raise UserError(f"{place}: {name!r} is not a valid path ({error}); fix it") from error
        if outside and not self.allow_outside:
            raise UserError(f"{place}: {name!r} is outside {self.folder}; use --allow-outside if that is intended")
        if missing:
            raise UserError(f"{place}: {name!r} is not a file in {self.folder}; fix the path, or add the file")
        return path


def row_of(row: Mapping[str, Any], columns: Columns, files: FileResolver, place: str) -> ImportedClip:
    """Convert a table row to a clip. If the table contains paths, the clip's source is the path of its video.

    Raises:
        UserError: the video is missing, or a value is invalid. The error names the place and the column.
    """
    return clip_of(columns.values(row, place), files, place)


def clip_of(values: Mapping[str, Any], files: FileResolver, place: str) -> ImportedClip:
    """Convert values by field to a clip. Errors are those of `row_of`."""
    if "video" not in values:
        raise UserError(f"{place}: has no video; add it, or remove the row")
    caption, subject = _text(values, "caption", place), _text(values, "subject", place)
    mask, start, end = values.get("mask"), _seconds(values, "start", place), _seconds(values, "end", place)
    if end is not None and end <= (start or 0):
        raise UserError(f"{place}: end must come after start, {start or 0:g} s, but is {end:g} s")
    return ImportedClip(
        video=files(values["video"], place),
        caption=caption or "",
        references=tuple(_reference(item, files, place) for item in _items(values.get("references"))),
        start=start,
        end=end,
        subject=subject,
        mask=None if mask is None else files(mask, place),
        source=printable(_text(values, "source", place) or _name(values["video"]) or place)[:LONGEST_SOURCE],
    )


def _empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        return [name for name in value.split(SEPARATOR) if name.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _reference(item: Any, files: FileResolver, place: str) -> tuple[File, File | None]:
    if isinstance(item, Mapping) and "picture" in item:  # the key in manifests of version 0.1
        item = {"image": item["picture"], **item}
    if isinstance(item, Mapping) and "image" in item:
        mask = item.get("mask")
        return files(item["image"], place), None if mask is None else files(mask, place)
    return files(item, place), None


def _name(value: Any) -> str | None:
    """The path of a file in the table."""
    path = value.get("path") if isinstance(value, Mapping) else value
    return path if isinstance(path, str) else None


def _text(values: Mapping[str, Any], field: str, place: str) -> str | None:
    value = values.get(field)
    if field == "subject" and type(value) is int:
        return str(value)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{place}: {field} must be text, received {type(value).__name__}")
    if any("\ud800" <= letter <= "\udfff" for letter in value or ""):
        raise UserError(
            f"{place}: {field} contains half of a UTF-16 character, {printable(value or ''):.60}; rewrite it"
        )
    return value


def _seconds(values: Mapping[str, Any], field: str, place: str) -> float | None:
    if field not in values:
        return None
    value = values[field]
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_VIDEO:
        raise UserError(
            f"{place}: {field} must be between 0 and {LONGEST_VIDEO:,} seconds, received {f'{value!r:.60}'}"
        )
    return seconds
