"""Settings and results of a check. Does not access files."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from refilm.data.settings import CheckSettings
from refilm.printable import printable
from refilm.settings import Settings

Level = Literal["error", "warning"]
ErrorKind = Literal[
    "line",
    "missing",
    "outside",
    "unreadable",
    "truncated",
    "damaged",
    "timeout",
    "crash",
    "short",
    "caption",
    "no reference",
    "mask",
]
WarningKind = Literal[
    "long caption",
    "rate",
    "variable rate",
    "turned",
    "interlaced",
    "color",
    "transparent",
    "spatial",
    "streams",
    "size",
    "animated",
    "duplicate",
    "similar",
    "copy",
]
Kind = ErrorKind | WarningKind
WARNINGS: tuple[WarningKind, ...] = get_args(WarningKind)

Printable = Annotated[str, AfterValidator(printable)]
"""Text that may contain file names with arbitrary bytes, escaped so that every program can read the report."""


class Finding(Settings):
    """A problem with a clip."""

    kind: Kind
    message: Printable
    """One sentence that names the file and how to fix it."""

    @property
    def level(self) -> Level:
        """Either "error" (the clip cannot be used) or "warning" (it can, but perhaps not as intended)."""
        return "warning" if self.kind in WARNINGS else "error"


class FileRecord(Settings):
    """The state of a file when it was inspected."""

    sha256: str
    size: int = Field(ge=0)
    mtime_ns: int = Field(ge=-(2**63))
    facts: str
    """A short description of the content."""


class ClipReport(Settings):
    """A clip's entry and its findings."""

    place: Printable
    """Where the clip is listed: the manifest and line number, or the video."""
    video: Printable | None
    """Path of the video, relative to the manifest's folder like all files. None: the entry cannot be parsed."""
    still: bool = False
    """Whether the video is an image; rules about length, rate and motion do not apply to it."""
    caption: Printable = ""
    facts: str = ""
    references: tuple[Printable, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the clip has no errors."""
        return all(finding.level == "warning" for finding in self.findings)


class Report(Settings):
    """The report on a data set."""

    version: Literal[1] = 1
    identity: str
    """Digest of the entries, without the content of the files."""
    settings: CheckSettings
    allow_outside: bool
    base: str
    """The base model whose tokenizer counted the tokens."""
    seconds: float = Field(ge=0)
    """Duration of the check."""
    clips: tuple[ClipReport, ...]
    files: dict[str, FileRecord]
    """All readable files by their names relative to the manifest's folder."""

    @property
    def usable(self) -> bool:
        """Whether every clip is usable."""
        return all(clip.usable for clip in self.clips)

    @property
    def stills(self) -> int:
        """Number of clips that are images."""
        return sum(clip.still for clip in self.clips)

    def count(self, kind: Kind) -> int:
        """Number of clips with a finding of this kind."""
        return sum(any(finding.kind == kind for finding in clip.findings) for clip in self.clips)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of all findings: errors first, then by number of clips."""
        found: set[Kind] = {finding.kind for clip in self.clips for finding in clip.findings}
        return sorted(found, key=lambda kind: (kind in WARNINGS, -self.count(kind), kind))
