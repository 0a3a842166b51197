"""Clips from tables: CSV with the standard library; Parquet and the Hub with the datasets library, streamed."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refilm.data.importing.columns import Columns, Files, row_of
from refilm.data.importing.rows import Blob, File, Row

if TYPE_CHECKING:
    from datasets import IterableDataset

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def csv_rows(path: Path, columns: Columns, *, allow_outside: bool) -> Iterator[Row]:
    """The clips of a CSV file with a header; paths are relative to it, several references parted by `;`.

    Raises:
        ValueError: it is not such a file, or a row is at fault.
    """
    files = Files(path.parent, allow_outside)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                place = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise ValueError(f"{place}: has not as many values as there are columns; quote those with commas")
                yield row_of(row, columns, files, place)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not CSV in UTF-8, line {reader.line_num}: {error}; export it anew") from error


def parquet_rows(paths: list[Path], columns: Columns, *, allow_outside: bool) -> Iterator[Row]:
    """The clips of Parquet files, with contents or with paths relative to their folder.

    Raises:
        ValueError: they cannot be read, the datasets library is missing, or a row is at fault.
    """
    source = str(paths[0]) if len(paths) == 1 else f"{paths[0]} ... {paths[-1].name}"
    with_files = Files(paths[0].parent, allow_outside)
    data_files = [str(path) for path in paths]
    for number, row in enumerate(_streamed(source, "parquet", "train", data_files), start=1):
        yield row_of(row, columns, with_files, f"{source}, row {number}")


def hub_rows(name: str, split: str, columns: Columns) -> Iterator[Row]:
    """The clips of a data set on the Hub, one after another as they come, without storing it twice.

    Raises:
        ValueError: it cannot be reached or read, the datasets library is missing, or a row is at fault.
    """
    files = _HubFiles(Path(), allow_outside=False)
    for number, row in enumerate(_streamed(name, name, split, None), start=1):
        yield row_of(row, columns, files, f"{name}, row {number}")


class _HubFiles(Files):
    """Files in the repository itself: what a data set of strangers calls a path must never be one of this machine."""

    def at(self, name: str, place: str) -> File:
        import fsspec

        if not (name.startswith("hf://datasets/") or re.fullmatch(r"zip://[^:]*::hf://datasets/.*", name)):
            raise ValueError(f"{place}: {name!r} is no file of the data set; only those are read")
        try:
            with fsspec.open(name, "rb") as file:
                return Blob(file.read(), name)  # pyright: ignore[reportAttributeAccessIssue]
        except Exception as error:  # of the network, of the Hub, or of the archive
            raise ValueError(f"{place}: {name!r} cannot be fetched ({_reason(error)}); try again") from error


def _streamed(source: str, kind: str, split: str, data_files: list[str] | None) -> Iterator[dict[str, Any]]:
    """Rows as the datasets library streams them, with contents as they are stored, not decoded."""
    try:
        import datasets
    except ImportError as error:
        raise ValueError(f"{source}: reading it needs the datasets library: pip install 'refilm[data]'") from error
    try:
        stream: IterableDataset = datasets.load_dataset(kind, split=split, data_files=data_files, streaming=True)  # pyright: ignore
        rows = iter(stream.decode(False))
    except Exception as error:  # of the network, of the Hub, or of the file
        raise ValueError(f"{source}: cannot be read ({_reason(error)})") from error
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise ValueError(f"{source}: cannot be read ({_reason(error)})") from error
        yield row


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
