"""Import clips from common formats into a folder with a manifest, the format that all other commands read."""

from collections.abc import Iterator
from pathlib import Path

from refilm.data.importing.columns import Columns
from refilm.data.importing.layouts import Layout, find_layout
from refilm.data.importing.rows import MANIFEST, write_rows

__all__ = ["MANIFEST", "Columns", "Layout", "find_layout", "import_clips", "write_rows"]


def import_clips(
    source: str, out: Path | str, *, columns: str | None = None, split: str = "train", allow_outside: bool = False
) -> Iterator[int]:
    """Write the clips of a source with a manifest to a new or empty folder; yields the number of clips so far.

    Only the format is validated here; `check` inspects the videos, images and captions.

    Args:
        source: a folder or table of clips in a known layout (see `find_layout`), or the id of a data set on the Hub,
            owner/name.
        columns: names of the table's columns if they differ from the defaults: "video=path,caption=text".
        split: split of a data set on the Hub.
        allow_outside: leave files where they are, and allow paths outside the table's folder.

    Raises:
        UserError: the source is in no known layout or invalid, or `out` is not empty.
    """
    layout = find_layout(source, Columns.parse(columns), split=split, allow_outside=allow_outside)
    return write_rows(layout.rows, Path(out), allow_outside=allow_outside)
