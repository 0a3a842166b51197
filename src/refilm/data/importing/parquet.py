"""Import Parquet files with pyarrow, which is optional. Paths are literal and never read as patterns or URLs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from refilm.data.importing.bombs import bounded
from refilm.data.importing.columns import Columns, FileResolver, row_of
from refilm.data.importing.rows import ImportedClip
from refilm.errors import UserError

BUFFER = 2**20  # bytes of a column that are read at once; without a limit, whole columns are


def parquet_rows(paths: Sequence[Path], columns: Columns, *, allow_outside: bool) -> Iterator[ImportedClip]:
    """The clips of Parquet files that contain contents or paths relative to their folder.

    Raises:
        UserError: a file cannot be read, pyarrow is missing, or a row is invalid. The error names file and row.
    """
    for path in paths:
        files = FileResolver(path.parent, allow_outside)
        for number, row in enumerate(bounded(_rows(path, columns), str(path)), start=1):
            yield row_of(row, columns, files, f"{path}, row {number}")


def _rows(path: Path, columns: Columns) -> Iterator[dict[str, Any]]:
    """The rows of a file, with the columns of known fields only."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(f"{path}: reading it requires pyarrow: pip install 'refilm[data]'") from error
    try:
        with path.open("rb") as content, ParquetFile(content, buffer_size=BUFFER) as file:
            names = columns.found(file.schema_arrow.names, str(path)).values()
            for batch in file.iter_batches(1, columns=list(names)):  # all videos of a row are in memory at once
                yield from batch.to_pylist()
    except MemoryError:
        raise
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({reason(error)}); download or write it again") from error


def reason(error: Exception) -> str:
    """The first line of an error message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
