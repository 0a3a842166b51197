"""Recognize the layout of a source by its file names; the network is not used for anything that must be a path."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refilm.data.examples import IMAGES, LAYOUT, STILLS, Example, require_valid
from refilm.data.folders import CLIPS as FOLDERS
from refilm.data.folders import list_folder
from refilm.data.importing.columns import Columns, FileResolver
from refilm.data.importing.hub import find_on_hub, hub_rows, may_be_hub_id
from refilm.data.importing.members import CLIPS, TEXTS, member_rows
from refilm.data.importing.parquet import parquet_rows
from refilm.data.importing.rows import MANIFEST, ImportedClip
from refilm.data.importing.tables import DELIMITERS, csv_rows, delimiter_of, json_rows, list_rows
from refilm.data.importing.tars import tar_rows
from refilm.errors import UserError
from refilm.printable import printable

METADATA = "metadata.jsonl", "metadata.csv"  # the datasets library's VideoFolder
LISTS = ("prompts.txt", "videos.txt"), ("prompt.txt", "videos.txt"), ("captions.txt", "videos.txt")  # finetrainers
KNOWN = (
    f"use a folder with {LAYOUT}, or with 1.mp4, 1.txt (without videos 1.png, 1.txt), or with {METADATA[0]}, or with "
    "prompts.txt and videos.txt; a .csv, .jsonl, .parquet or .tar file, or a folder of .parquet or .tar files; or the "
    "id of a data set on the Hub, owner/name"
)


@dataclass(frozen=True)
class Layout:
    """The recognized layout of a source and its clips."""

    words: str
    """Description of the layout."""
    rows: Iterator[ImportedClip]


def find_layout(source: str, columns: Columns, *, split: str, allow_outside: bool) -> Layout:
    """Recognize the layout of a source. Errors in its clips are raised when its rows are read.

    Raises:
        UserError: the layout is unknown or ambiguous.
    """
    path = Path(source)
    if path.is_dir():
        return _folder(path, columns, allow_outside)
    if path.is_file():
        return _file(path, columns, allow_outside)
    if not path.exists() and may_be_hub_id(source):
        find_on_hub(source)
        return Layout("a data set on the Hub", hub_rows(source, split, columns))
    raise UserError(f"{source}: no such file or folder; {KNOWN}")


def _file(path: Path, columns: Columns, allow_outside: bool) -> Layout:
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        words = f"a table separated by {DELIMITERS[delimiter_of(path)]}"
        return Layout(words, csv_rows(path, columns, allow_outside=allow_outside))
    if kind == ".jsonl":
        return Layout("JSON lines", json_rows(path, columns, allow_outside=allow_outside))
    if kind == ".parquet":
        return Layout("a Parquet file", parquet_rows([path], columns, allow_outside=allow_outside))
    if kind == ".tar":
        return Layout("a tar", tar_rows([path], columns))
    raise UserError(f"{path}: unknown layout; {KNOWN}")


def _folder(path: Path, columns: Columns, allow_outside: bool) -> Layout:
    lists = next(((path / one, path / other) for one, other in LISTS if (path / one).is_file()), None)
    if metadata := [path / name for name in METADATA if (path / name).is_file()]:
        if len(metadata) > 1:
            raise UserError(f"{path}: has {' and '.join(METADATA)}; import one of them, for example {metadata[0]}")
        return Layout(metadata[0].name, _file(metadata[0], columns, allow_outside).rows)
    if lists is not None and lists[1].is_file():
        words = f"{lists[0].name} and {lists[1].name}"
        return Layout(words, list_rows(*lists, allow_outside=allow_outside))
    parts = [part for part in FOLDERS if (path / part).is_dir()]
    if parts and ((path / "labels").is_dir() or not (path / MANIFEST).is_file()):
        words = "/, ".join(parts) + "/ and labels/"
        return Layout(words, (_row(path, example) for example in require_valid(list_folder(path))))
    if (path / MANIFEST).is_file():
        return Layout(MANIFEST, json_rows(path / MANIFEST, columns, allow_outside=allow_outside))
    return _unlisted(path, columns, allow_outside)


def _unlisted(path: Path, columns: Columns, allow_outside: bool) -> Layout:
    """A folder of archives, of videos with captions and images beside them, or of images with captions."""
    parquet, tars = sorted(path.glob("*.parquet")), sorted(path.glob("*.tar"))
    if parquet and not tars:
        return Layout(f"{len(parquet)} Parquet files", parquet_rows(parquet, columns, allow_outside=allow_outside))
    if tars and not parquet:
        return Layout(f"{len(tars)} tars", tar_rows(tars, columns))
    files = {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}
    members = {name: file for name, file in files.items() if file.suffix.lower() in (*CLIPS, *IMAGES, *TEXTS)}
    suffixes = {file.suffix.lower() for file in members.values()}
    if suffixes.isdisjoint(CLIPS) and (suffixes.isdisjoint(STILLS) or suffixes.isdisjoint(TEXTS)):
        raise UserError(f"{path}: unknown layout; {KNOWN}")
    kind = "images" if suffixes.isdisjoint(CLIPS) else "videos"
    rows = member_rows(members, columns, FileResolver(path, allow_outside), str(path))
    return Layout(f"{kind} with captions beside them", rows)


def _row(folder: Path, example: Example) -> ImportedClip:
    references = tuple((item.image, item.mask) for item in example.references)
    source = printable(str(example.video.relative_to(folder)))
    return ImportedClip(
        example.video, example.caption, references, example.start, example.end, example.subject, example.mask, source
    )
