"""Import a data set from the Hub, streamed by the datasets library, which is optional."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refilm.data.examples import IMAGES, VIDEOS
from refilm.data.importing.bombs import TooMuchError, bounded, bounded_memory
from refilm.data.importing.columns import Columns, FileResolver, row_of
from refilm.data.importing.parquet import reason
from refilm.data.importing.rows import Blob, File, ImportedClip
from refilm.errors import UserError

if TYPE_CHECKING:
    from datasets import IterableDataset

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
FILES = (*VIDEOS, *IMAGES, ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".tar", ".gz", ".zip", ".txt")
PATIENCE = 10.0  # seconds to wait for the Hub's first response


def may_be_hub_id(source: str) -> bool:
    """Whether a source that is not a local path can be a data set id: owner/name, with no local folder `owner`."""
    is_id = HUB_ID.fullmatch(source) is not None and not source.lower().endswith(FILES)
    return is_id and not Path(source).parent.exists()


def find_on_hub(name: str) -> None:
    """Check with one request that a data set exists on the Hub, so a mistyped path fails quickly.

    Raises:
        UserError: the data set does not exist, or the Hub does not respond.
    """
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(name, timeout=PATIENCE)
    except Exception as error:  # the network or the Hub
        raise UserError(
            f"{name}: no such local file or folder, and no readable data set on the Hub ({reason(error)}); "
            "fix the path or the id"
        ) from error


def hub_rows(name: str, split: str, columns: Columns) -> Iterator[ImportedClip]:
    """The clips of a data set on the Hub, streamed one by one.

    Raises:
        UserError: the data set cannot be reached or read, the datasets library is missing, or a row is invalid.
    """
    files = _HubFileResolver(Path(), allow_outside=False)
    for number, row in enumerate(bounded(_streamed(name, split), name), start=1):
        yield row_of(row, columns, files, f"{name}, row {number}")


class _HubFileResolver(FileResolver):
    """Resolves files in the repository only: paths in an untrusted data set must never name local files."""

    def at(self, name: str, place: str) -> File:
        import fsspec

        if not (name.startswith("hf://datasets/") or re.fullmatch(r"zip://[^:]*::hf://datasets/.*", name)):
            raise UserError(f"{place}: {name!r} is not a file of the data set; only its own files are read")
        try:
            with bounded_memory(f"{place}: {name!r}"), fsspec.open(name, "rb") as file:
                return Blob(file.read(), name)  # pyright: ignore[reportAttributeAccessIssue]
        except TooMuchError:
            raise
        except Exception as error:  # the network, the Hub, or the archive
            raise UserError(f"{place}: {name!r} cannot be downloaded ({reason(error)}); try again") from error


def _streamed(name: str, split: str) -> Iterator[dict[str, Any]]:
    """Rows streamed by the datasets library, with undecoded contents."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{name}: reading it requires the datasets library: pip install 'refilm[data]'") from error
    try:
        stream: IterableDataset = datasets.load_dataset(name, split=split, streaming=True)  # pyright: ignore
        yield from stream.decode(False)
    except MemoryError:
        raise
    except Exception as error:  # the network, the Hub, or the file
        raise UserError(f"{name}: cannot be read ({reason(error)})") from error
