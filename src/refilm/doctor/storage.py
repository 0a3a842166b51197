"""The folders that refilm writes to: free disk, locks between processes, and SQLite with a write-ahead log (WAL)."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from refilm.doctor.checks import Check, gib, ok, problem, warning
from refilm.files import read_text

MOUNTS = Path("/proc/mounts")
SHARED_KINDS = (
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse",
    "glusterfs",
    "lustre",
    "nfs",
    "smb",
    "vboxsf",
    "virtiofs",
)
"""Starts of the names of file systems that several machines may share."""
SQLITE = (3, 35, 0)
LEAST_FREE = 1 << 30
Purpose = str


@dataclass(frozen=True)
class FolderFacts:
    """A folder, or the nearest one above it if it does not exist."""

    purpose: Purpose
    path: Path
    kind: str
    """Kind of the file system; empty if it is unknown."""
    free: int
    """Bytes."""
    error: str = ""
    """Why no file can be written."""
    locks: bool = True
    """Whether a lock keeps a second process out."""
    wal: bool = True
    """Whether SQLite can use a write-ahead log."""


def gather(purpose: Purpose, path: Path) -> FolderFacts:
    """Try a folder, in a temporary folder within it."""
    own = path.expanduser().absolute()
    place = next(folder for folder in (own, *own.parents) if folder.is_dir())
    facts = {"purpose": purpose, "path": path, "kind": file_system(place), "free": shutil.disk_usage(place).free}
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".refilm-doctor-") as name:
            return FolderFacts(**facts, locks=_can_lock(Path(name)), wal=_can_log(Path(name)))
    except OSError as error:
        return FolderFacts(**facts, error=error.strerror or str(error))


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """The kind of the file system of a folder, such as ext4 or nfs4."""
    lines = [line.split() for line in read_text(mounts).splitlines()] if mounts.is_file() else []
    points = {Path(words[1].replace("\\040", " ")): words[2] for words in lines}
    resolved = folder.resolve()
    return next((points[place] for place in (resolved, *resolved.parents) if place in points), "")


def _can_lock(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    with FileLock(folder / "lock", timeout=0):
        try:
            with FileLock(folder / "lock", timeout=0):
                return False
        except Timeout:
            return True


def _can_log(folder: Path) -> bool:
    try:
        with closing(sqlite3.connect(folder / "db")) as writer, closing(sqlite3.connect(folder / "db")) as reader:
            mode = writer.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            writer.execute("CREATE TABLE t (n)")
            writer.commit()
            return mode == "wal" and reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
    except sqlite3.Error:
        return False


def judge(facts: FolderFacts) -> Check:
    """The check of a folder."""
    name, finding = f"{facts.purpose} folder", f"{facts.path}, {gib(facts.free)} free"
    if facts.kind:
        finding += f", {facts.kind}"
    if facts.error:
        return problem(
            name,
            f"{finding}; no file can be written: {facts.error}",
            f"Make it writable for user {_user()}, or {CHOOSE[facts.purpose]}.",
        )
    if not facts.locks:
        return problem(
            name,
            f"{finding}; locks do not keep other processes out",
            f"Mount the file system with locks, or {CHOOSE[facts.purpose]}.",
        )
    if facts.purpose == "result" and (not facts.wal or facts.kind.startswith(SHARED_KINDS)):
        how = "may fail on a file system that machines share" if facts.wal else "does not work"
        return warning(
            name,
            f"{finding}; SQLite's write-ahead log {how}",
            "For `refilm serve`, choose a store on a local disk; all other commands can use this folder.",
        )
    if facts.free < LEAST_FREE:
        return warning(name, finding, f"Remove files, or {CHOOSE[facts.purpose]}.")
    return ok(name, finding)


CHOOSE = {
    "cache": "set HF_HOME to another folder",
    "temporary": "set TMPDIR to another folder",
    "result": "choose another folder for results",
}
"""How each folder is chosen."""


def judge_sqlite(version: tuple[int, ...]) -> Check:
    """The check of SQLite's version."""
    text = ".".join(map(str, version))
    if version < SQLITE:
        least = ".".join(map(str, SQLITE[:2]))
        return warning("SQLite", text, f"`refilm serve` needs {least} or newer, which comes with a newer Python.")
    return ok("SQLite", text)


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
