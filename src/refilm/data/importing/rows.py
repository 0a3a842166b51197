"""Write imported clips to a folder: files and a manifest.

Files are renamed, so names from an untrusted archive never become paths. The original name of a clip is kept as its
`source`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refilm.data.examples import IMAGES, STILLS, VIDEOS, Example, Reference, one_line
from refilm.data.manifest import write_manifest
from refilm.data.text import LONGEST
from refilm.errors import UserError
from refilm.files import atomic_folder, link_or_copy, require_empty
from refilm.media.containers import kind_of

MANIFEST = "manifest.jsonl"
CONTAINERS = {"mov": ".mp4", "matroska": ".mkv", "avi": ".avi", "gif": ".gif"}
MAGIC = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp", b"II*\0": ".tif"}
CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class Blob:
    """A file's content and original name, of which only the suffix is used."""

    content: bytes
    name: str = ""


@dataclass(frozen=True)
class Slice:
    """A member of an archive and its name, of which only the suffix is used."""

    path: Path
    start: int
    length: int
    name: str


File = Path | Blob | Slice


@dataclass(frozen=True)
class ImportedClip:
    """A clip like `Example`, whose files can also be contents that are not on the disk yet."""

    video: File
    """A video, or for a still an image."""
    caption: str
    references: tuple[tuple[File, File | None], ...]
    """Images with their masks."""
    start: float | None = None
    end: float | None = None
    subject: str | None = None
    mask: File | None = None
    source: str | None = None


def write_rows(rows: Iterator[ImportedClip], out: Path, *, allow_outside: bool) -> Iterator[int]:
    """Write clips to a new or empty folder; yields the number of clips so far.

    Files are hard-linked if the file system supports it, otherwise copied; with `allow_outside` they stay where they
    are. The folder is created atomically when all clips are written.

    Raises:
        UserError: the folder is not empty, a row is invalid, or there are no rows.
        OSError: a file cannot be read or written. The error names it.
    """
    require_empty(out)
    with atomic_folder(out) as folder:
        writer = _Writer(folder, allow_outside)
        examples: list[Example] = []
        for row in rows:
            examples.append(writer.write(row, len(examples) + 1))
            yield len(examples)
        if not examples:
            raise UserError(f"{out}: was not written, because the source contains no clips; choose another source")
        write_manifest(folder / MANIFEST, examples, allow_outside=allow_outside)


def content_of(file: File, most: int = LONGEST + 1) -> bytes:
    """The first `most` bytes of a file; the default is one more than the limit of text files."""
    if isinstance(file, Blob):
        return file.content[:most]
    path, start, length = (file.path, file.start, file.length) if isinstance(file, Slice) else (file, 0, most)
    with path.open("rb") as content:
        content.seek(start)
        return content.read(min(most, length))


class _Writer:
    """Writes the files of clips; a file that several clips name is written once."""

    def __init__(self, folder: Path, stay: bool):
        self.folder, self.stay = folder, stay
        self.known: dict[Path, Path] = {}

    def write(self, row: ImportedClip, number: int) -> Example:
        """Write the files of a clip."""
        name = f"{number:06}"
        kind = "images" if _suffix(row.video, (*VIDEOS, *STILLS)) in STILLS else "videos"
        video = self.place(row.video, kind, name, (*VIDEOS, *STILLS))
        references = []
        for place, (image, mask) in enumerate(row.references, start=1):
            path = self.place(image, "references", f"{name}-{place}", IMAGES)
            references.append(Reference(path, mask and self.place(mask, "masks", f"{name}-{place}", IMAGES)))
        mask = row.mask and self.place(row.mask, "masks", name, (*VIDEOS, *IMAGES))
        caption = one_line(row.caption)
        return Example(video, caption, tuple(references), row.start, row.end, row.subject, mask, row.source)

    def place(self, file: File, kind: str, name: str, suffixes: tuple[str, ...]) -> Path:
        """Write or link a file; returns its new path."""
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
                raise UserError(
                    f"{part.path}: has changed during the import, {part.name!r} is truncated; run this again"
                )
            file.write(content)


def _suffix(file: File, suffixes: tuple[str, ...]) -> str:
    """The file's original suffix if it is one of `suffixes`; otherwise the suffix that its first bytes indicate."""
    own = Path(file.name).suffix.lower()
    if own in suffixes:
        return own
    head = content_of(file, 12)
    video = kind_of(head)
    if video is not None and CONTAINERS[video] in suffixes:
        return CONTAINERS[video]
    return next((suffix for magic, suffix in MAGIC.items() if head.startswith(magic)), suffixes[0])
