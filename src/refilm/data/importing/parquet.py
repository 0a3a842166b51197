"""Clips from Parquet files, by pyarrow, which is optional. A path names one file, whatever letters are in it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from refilm.data.importing.bombs import bounded
from refilm.data.importing.columns import Columns, Files, row_of
from refilm.data.importing.rows import Row

BUFFER = 2**20  # bytes of a column that are read at once; else it would be all of them


def parquet_rows(paths: Sequence[Path], columns: Columns, *, allow_outside: bool) -> Iterator[Row]:
    """The clips of Parquet files, with contents or with paths relative to their folder.

    Raises:
        ValueError: one cannot be read, pyarrow is missing, or a row is at fault; names the file and the row.
    """
    for path in paths:
        files = Files(path.parent, allow_outside)
        for number, row in enumerate(bounded(_rows(path, columns), str(path)), start=1):
            yield row_of(row, columns, files, f"{path}, row {number}")


def _rows(path: Path, columns: Columns) -> Iterator[dict[str, Any]]:
    """The rows of a file, with those columns alone that say something of clips."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ValueError(f"{path}: reading it needs pyarrow: pip install 'refilm[data]'") from error
    try:
        with path.open("rb") as content, ParquetFile(content, buffer_size=BUFFER) as file:
            names = columns.found(file.schema_arrow.names, str(path)).values()
            for batch in file.iter_batches(1, columns=list(names)):  # a row's videos are in memory together
                yield from batch.to_pylist()
    except MemoryError:
        raise
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet ({reason(error)}); download or write it again") from error


def reason(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
