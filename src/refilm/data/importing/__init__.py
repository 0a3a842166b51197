"""Clips from the formats that people have, into the one that everything here reads: a manifest with its files."""

from collections.abc import Iterator
from pathlib import Path

from refilm.data.examples import LAYOUT, Example, sound
from refilm.data.folders import list_folder
from refilm.data.importing.columns import Columns
from refilm.data.importing.rows import MANIFEST, Row, write_rows
from refilm.data.importing.tables import HUB_ID, csv_rows, hub_rows, parquet_rows
from refilm.data.importing.tars import tar_rows

__all__ = ["MANIFEST", "import_clips"]


def import_clips(
    source: str, out: Path | str, *, columns: str | None = None, split: str = "train", allow_outside: bool = False
) -> Iterator[int]:
    """Write the clips of a source into a folder that is new or empty, with a manifest; yields how many so far.

    Nothing is judged here but the form: whether videos, pictures and captions are any good tells `check`.

    Args:
        source: a folder with videos/, labels/ and ref_images/; a .csv, .parquet or .tar, or a folder of the latter two;
            or the id of a data set on the Hub, owner/name.
        columns: where tables call things otherwise, "video=path,caption=text".
        split: of a data set on the Hub.
        allow_outside: leave files where they are, and let a table's paths lead out of its folder.

    Raises:
        ValueError: the source is none of these or at fault, or `out` holds something.
    """
    return write_rows(
        _rows(source, Columns.parse(columns), split, allow_outside), Path(out), allow_outside=allow_outside
    )


def _rows(source: str, columns: Columns, split: str, allow_outside: bool) -> Iterator[Row]:
    path = Path(source)
    if path.is_dir():
        if (path / "videos").is_dir():
            return (_row(example) for example in sound(list_folder(path)))
        parquet, tars = sorted(path.glob("*.parquet")), sorted(path.glob("*.tar"))
    else:
        parquet, tars = (
            [path] if path.is_file() and path.suffix.lower() == kind else [] for kind in (".parquet", ".tar")
        )
    if parquet and not tars:
        return parquet_rows(parquet, columns, allow_outside=allow_outside)
    if tars and not parquet:
        return tar_rows(tars, columns)
    if path.is_file() and path.suffix.lower() == ".csv":
        return csv_rows(path, columns, allow_outside=allow_outside)
    if HUB_ID.fullmatch(source) and not path.exists():
        return hub_rows(source, split, columns)
    raise ValueError(
        f"{source}: nothing that can be imported; give a folder with {LAYOUT}, a .csv, .parquet or .tar, a folder of "
        "either of the latter, or the id of a data set on the Hub, owner/name"
    )


def _row(example: Example) -> Row:
    references = tuple((item.picture, item.mask) for item in example.references)
    return Row(example.video, example.caption, references, example.start, example.end, example.subject, example.mask)
