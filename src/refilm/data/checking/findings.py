"""What a check wants, and what it finds. Knows no files."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

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
"""Text with names of files in it, which may be any bytes: a report is read, and written, by everybody."""


class CheckSettings(Settings):
    """What clips are wanted for. The values here are CogVideoX-2B's."""

    frames: int = Field(default=49, ge=1)
    """Frames that a clip needs; shorter ones cannot be used."""
    fps: float = Field(default=8.0, gt=0, le=1000)
    """Frames a second at which clips are seen: the nearest in time are taken."""
    height: int = Field(default=480, ge=1)
    """Height in pixels to which clips are scaled and cut."""
    width: int = Field(default=720, ge=1)
    """Width in pixels to which clips are scaled and cut."""
    tokens: int = Field(default=226, ge=1)
    """Most tokens of a caption, the end mark counted."""


class Finding(Settings):
    """Something about a clip that its owner should know."""

    kind: Kind
    message: Printable
    """One sentence, with the file and what to do."""

    @property
    def level(self) -> Level:
        """An error: the clip cannot be used. A warning: it can, perhaps not as it was meant."""
        return "warning" if self.kind in WARNINGS else "error"


class FileRecord(Settings):
    """A file as it was when it was looked at."""

    sha256: str
    size: int = Field(ge=0)
    mtime_ns: int = Field(ge=-(2**63))
    facts: str
    """What it is, in words."""


class ClipReport(Settings):
    """A clip as it is listed, and all that was found about it."""

    place: Printable
    """Where it is listed: the manifest and the line, or the video."""
    video: Printable | None
    """Relative to the manifest's folder, as all files; None: the line cannot be understood."""
    caption: Printable = ""
    facts: str = ""
    references: tuple[Printable, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether nothing is wrong that forbids to learn from it."""
        return all(finding.level == "warning" for finding in self.findings)


class Report(Settings):
    """A checked data set."""

    version: Literal[1] = 1
    identity: str
    """Digest of all that is listed, without what the files hold."""
    settings: CheckSettings
    allow_outside: bool
    base: str
    """The base model whose tokens were counted."""
    seconds: float = Field(ge=0)
    """That the check took."""
    clips: tuple[ClipReport, ...]
    files: dict[str, FileRecord]
    """Every file that could be read, by its name relative to the manifest's folder."""

    @property
    def usable(self) -> bool:
        """Whether every clip is."""
        return all(clip.usable for clip in self.clips)

    def count(self, kind: Kind) -> int:
        """How many clips have a finding of that kind."""
        return sum(any(finding.kind == kind for finding in clip.findings) for clip in self.clips)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds that were found, errors first, then by how many clips have them."""
        found: set[Kind] = {finding.kind for clip in self.clips for finding in clip.findings}
        return sorted(found, key=lambda kind: (kind in WARNINGS, -self.count(kind), kind))
