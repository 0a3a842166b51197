"""Clips as other formats tell them, and the folder that they are written into: files, and a manifest.

Names of files are given anew, so that nothing that somebody wrote into an archive becomes a path; what a clip was
called where it comes from is kept as its `source`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refilm.data.examples import PICTURES, VIDEOS, Example, Reference, one_line
from refilm.data.manifest import write_manifest
from refilm.data.text import LONGEST
from refilm.files import atomic_folder, link_or_copy, require_empty
from refilm.media.containers import kind_of

MANIFEST = "manifest.jsonl"
CONTAINERS = {"mov": ".mp4", "matroska": ".mkv", "avi": ".avi", "gif": ".gif"}
MAGIC = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp", b"II*\0": ".tif"}
CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class Blob:
    """A file's content, and the name that it had, of which the suffix alone counts."""

    content: bytes
    name: str = ""


@dataclass(frozen=True)
class Slice:
    """A file within another: a member of an archive, with its name, of which the suffix alone counts."""

    path: Path
    start: int
    length: int
    name: str


File = Path | Blob | Slice


@dataclass(frozen=True)
class Row:
    """A clip: as `Example`, but its files may be contents that are nowhere yet."""

    video: File
    caption: str
    references: tuple[tuple[File, File | None], ...]
    """Each with its mask."""
    start: float | None = None
    end: float | None = None
    subject: str | None = None
    mask: File | None = None
    source: str | None = None


def write_rows(rows: Iterator[Row], out: Path, *, allow_outside: bool) -> Iterator[int]:
    """Write clips into a folder that is new or empty; yields how many there are so far.

    Files are linked where the disk allows it and copied elsewhere; with `allow_outside` they stay where they are.
    The folder appears when all are written, or not at all.

    Raises:
        ValueError: the folder holds something, a row is at fault, or there are none.
        OSError: a file cannot be read or written; names it.
    """
    require_empty(out)
    with atomic_folder(out) as folder:
        writer = _Writer(folder, allow_outside)
        examples: list[Example] = []
        for row in rows:
            examples.append(writer.write(row, len(examples) + 1))
            yield len(examples)
        if not examples:
            raise ValueError(f"{out}: is not written, since the source holds no clips; give another")
        write_manifest(folder / MANIFEST, examples, allow_outside=allow_outside)


def content_of(file: File, most: int = LONGEST + 1) -> bytes:
    """The content of a file, or its first bytes: by default more than any text may have."""
    if isinstance(file, Blob):
        return file.content[:most]
    path, start, length = (file.path, file.start, file.length) if isinstance(file, Slice) else (file, 0, most)
    with path.open("rb") as content:
        content.seek(start)
        return content.read(min(most, length))


class _Writer:
    """Gives files their places; one that several clips name is there once."""

    def __init__(self, folder: Path, stay: bool):
        self.folder, self.stay = folder, stay
        self.known: dict[Path, Path] = {}

    def write(self, row: Row, number: int) -> Example:
        """Write the files of a clip."""
        name = f"{number:06}"
        references = []
        for place, (image, mask) in enumerate(row.references, start=1):
            path = self.place(image, "references", f"{name}-{place}", PICTURES)
            references.append(Reference(path, mask and self.place(mask, "masks", f"{name}-{place}", PICTURES)))
        mask = row.mask and self.place(row.mask, "masks", name, (*VIDEOS, *PICTURES))
        video = self.place(row.video, "videos", name, VIDEOS)
        caption = one_line(row.caption)
        return Example(video, caption, tuple(references), row.start, row.end, row.subject, mask, row.source)

    def place(self, file: File, kind: str, name: str, suffixes: tuple[str, ...]) -> Path:
        """Where a file is from now on."""
        if isinstance(file, Path):
            if self.stay:
                return file.resolve()
            if file in self.known:
                return self.known[file]
        target = self.folder / kind / f"{name}{_suffix(file, suffixes)}"
        target.parent.mkdir(exist_ok=True)
        if isinstance(file, Blob):
            target.write_bytes(file.content)
        elif isinstance(file, Slice):
            _copy(file, target)
        else:
            link_or_copy(file, target)
            self.known[file] = target
        return target


def _copy(part: Slice, target: Path) -> None:
    with part.path.open("rb") as source, target.open("wb") as file:
        source.seek(part.start)
        for start in range(0, part.length, CHUNK):
            wanted = min(CHUNK, part.length - start)
            content = source.read(wanted)
            if len(content) < wanted:
                raise ValueError(f"{part.path}: has changed meanwhile, {part.name!r} is cut short; run this again")
            file.write(content)


def _suffix(file: File, suffixes: tuple[str, ...]) -> str:
    """The suffix that the file had, if it is one of these, or else one that its first bytes tell."""
    own = Path(file.name).suffix.lower()
    if own in suffixes:
        return own
    head = content_of(file, 12)
    video = kind_of(head)
    if video is not None and CONTAINERS[video] in suffixes:
        return CONTAINERS[video]
    return next((suffix for magic, suffix in MAGIC.items() if head.startswith(magic)), suffixes[0])
