"""Clips from the formats that people have, into the one that everything here reads: a manifest with its files."""

from collections.abc import Iterator
from pathlib import Path

from refilm.data.importing.columns import Columns
from refilm.data.importing.layouts import Layout, find_layout
from refilm.data.importing.rows import MANIFEST, write_rows

__all__ = ["MANIFEST", "Columns", "Layout", "find_layout", "import_clips", "write_rows"]


def import_clips(
    source: str, out: Path | str, *, columns: str | None = None, split: str = "train", allow_outside: bool = False
) -> Iterator[int]:
    """Write the clips of a source into a folder that is new or empty, with a manifest; yields how many so far.

    Nothing is judged here but the form: whether videos, images and captions are any good tells `check`.

    Args:
        source: a folder of clips or a table of them, in one of many layouts (`find_layout`), or the id of a data set
            on the Hub, owner/name.
        columns: where tables call things otherwise, "video=path,caption=text".
        split: of a data set on the Hub.
        allow_outside: leave files where they are, and let a table's paths lead out of its folder.

    Raises:
        ValueError: the source is none of these or at fault, or `out` holds something.
    """
    layout = find_layout(source, Columns.parse(columns), split=split, allow_outside=allow_outside)
    return write_rows(layout.rows, Path(out), allow_outside=allow_outside)
