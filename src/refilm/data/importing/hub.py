"""Clips from a data set on the Hub, streamed by the datasets library, which is optional."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refilm.data.examples import PICTURES, VIDEOS
from refilm.data.importing.bombs import TooMuchError, bounded, bounded_memory
from refilm.data.importing.columns import Columns, Files, row_of
from refilm.data.importing.parquet import reason
from refilm.data.importing.rows import Blob, File, Row

if TYPE_CHECKING:
    from datasets import IterableDataset

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
FILES = (*VIDEOS, *PICTURES, ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".tar", ".gz", ".zip", ".txt")
PATIENCE = 10.0  # seconds, for the Hub's first answer


def may_be_hub_id(source: str) -> bool:
    """Whether a word that names nothing on this machine may name a data set: owner/name, and no folder `owner` here."""
    is_id = HUB_ID.fullmatch(source) is not None and not source.lower().endswith(FILES)
    return is_id and not Path(source).parent.exists()


def find_on_hub(name: str) -> None:
    """Ask the Hub once whether it has a data set, so that a mistyped path costs one question.

    Raises:
        ValueError: it has none, or does not answer.
    """
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(name, timeout=PATIENCE)
    except Exception as error:  # of the network, or of the Hub
        raise ValueError(
            f"{name}: no such file or folder here, and on the Hub no data set that can be read ({reason(error)}); "
            "mend the path, or the id"
        ) from error


def hub_rows(name: str, split: str, columns: Columns) -> Iterator[Row]:
    """The clips of a data set on the Hub, one after another as they come, without storing it twice.

    Raises:
        ValueError: it cannot be reached or read, the datasets library is missing, or a row is at fault.
    """
    files = _HubFiles(Path(), allow_outside=False)
    for number, row in enumerate(bounded(_streamed(name, split), name), start=1):
        yield row_of(row, columns, files, f"{name}, row {number}")


class _HubFiles(Files):
    """Files in the repository itself: what a data set of strangers calls a path must never be one of this machine."""

    def at(self, name: str, place: str) -> File:
        import fsspec

        if not (name.startswith("hf://datasets/") or re.fullmatch(r"zip://[^:]*::hf://datasets/.*", name)):
            raise ValueError(f"{place}: {name!r} is no file of the data set; only those are read")
        try:
            with bounded_memory(f"{place}: {name!r}"), fsspec.open(name, "rb") as file:
                return Blob(file.read(), name)  # pyright: ignore[reportAttributeAccessIssue]
        except TooMuchError:
            raise
        except Exception as error:  # of the network, of the Hub, or of the archive
            raise ValueError(f"{place}: {name!r} cannot be fetched ({reason(error)}); try again") from error


def _streamed(name: str, split: str) -> Iterator[dict[str, Any]]:
    """Rows as the datasets library streams them, with contents as they are stored, not decoded."""
    try:
        import datasets
    except ImportError as error:
        raise ValueError(f"{name}: reading it needs the datasets library: pip install 'refilm[data]'") from error
    try:
        stream: IterableDataset = datasets.load_dataset(name, split=split, streaming=True)  # pyright: ignore
        yield from stream.decode(False)
    except MemoryError:
        raise
    except Exception as error:  # of the network, of the Hub, or of the file
        raise ValueError(f"{name}: cannot be read ({reason(error)})") from error
