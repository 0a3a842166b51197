"""Files and folders: written whole or not at all, read as UTF-8, hashed, linked, locked.

Crash safety is decided here alone. What is written goes to a hidden workplace beside its target, reaches the disk,
and takes its name by one rename. A workplace is locked while its process lives, so that the next write of the same
target removes what killed processes left, and nothing else. Knows nothing of what the files mean.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

WORKPLACE = ".unfinished"
LOCK = "lock"
LEAST = 1 << 20  # bytes; a disk with less is full
REASONS = {
    errno.ENOSPC: "the disk is full; free some space, then run this again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run this again",
    errno.EFBIG: "is larger than this system lets a file be; choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "permission denied; change its permissions, or choose another place",
    errno.EPERM: "permission denied; change its permissions, or choose another place",
    errno.ENOENT: "no such file or folder",
}


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, whatever the locale is; a byte order mark is left out.

    Raises:
        ValueError: the file is not UTF-8; names it.
        OSError: it cannot be read; names it.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 with Unix line ends, whole or not at all.

    Raises:
        ValueError: the text has characters that no file can store (lone surrogates).
        OSError: it cannot be written; names it.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        wrong = text[error.start : error.end]
        raise ValueError(f"{path}: {wrong!a} is not a character; remove it from what is written there") from error
    write_bytes(path, content)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: it cannot be written; names it.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: the file is missing or is not a JSON object; names it.
        OSError: it cannot be read; names it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are ValueErrors
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must contain a JSON object (received {type(content).__name__})")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as readable JSON, whole or not at all.

    Raises:
        ValueError: NaN or infinity, which are not JSON.
        OSError: it cannot be written; names it.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write to; the file takes the place of `path` unless an error comes first. Missing folders are made.

    It has the permissions of the file it replaces, or those that the folder gives to new files.

    Raises:
        ValueError: `path` is a folder, a device, or anything else that is not a file.
        OSError: it cannot be written; names `path`, not the temporary file.
    """
    path = path.resolve()
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is not a regular file; give the name of a file")
    with _naming(path), _workplace(path) as workplace:
        temporary = workplace / path.name
        yield temporary
        _settle(temporary, (path if path.exists() else workplace).stat().st_mode)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def atomic_folder(folder: Path, *owned: str) -> Iterator[Path]:
    """An empty folder to write to; it takes the place of `folder` unless an error comes first.

    Before that everything has reached the disk. Whoever may read the folder may read its files.

    Args:
        folder: where it will be. Missing parents are made.
        owned: patterns of the files that an older `folder` of the same kind has; these are removed, all others stay.

    Raises:
        ValueError: `folder` is a file, or cannot be replaced (a mount point, for instance); then what was written
            stays in a folder beside it.
        OSError: it cannot be written; names `folder`, not the temporary one.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; give a folder")
    with _naming(folder), _workplace(folder) as workplace:
        new, old = workplace / "new", workplace / "old"
        new.mkdir()
        if folder.exists():
            new.chmod(folder.stat().st_mode)
        yield new
        for path in (*new.rglob("*"), new):
            _settle(path, new.stat().st_mode)
        _exchange(folder, new, old)
        for path in old.iterdir() if old.exists() else ():
            if not any(path.match(pattern) for pattern in owned):
                path.rename(folder / path.name)
        sync(folder.parent)


def require_empty(folder: Path) -> None:
    """Refuse a place for a new folder that is taken.

    Raises:
        ValueError: `folder` is a file, or contains something.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: is not empty; choose an empty or new folder")


def require_writable(folder: Path) -> None:
    """Refuse a folder, one that is there or one to be made, that nothing can be written to. Writes nothing itself.

    Raises:
        ValueError: a file is in its way, permission is missing, or the disk is read-only or full; names the place.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise ValueError(
            f"{folder}: {'is a file' if place == folder.absolute() else f'{place} is a file'}; give a folder"
        )
    system = os.statvfs(place) if hasattr(os, "statvfs") else None  # Windows has none
    if system is not None and system.f_flag & os.ST_RDONLY:
        raise ValueError(f"{folder}: {REASONS[errno.EROFS]}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: {place}: {REASONS[errno.EACCES]}")
    if shutil.disk_usage(place).free < LEAST:
        raise ValueError(f"{folder}: {REASONS[errno.ENOSPC]}")


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path` until the context ends; a process that is killed gives it up.

    Raises:
        ValueError: `busy`, if another process holds it.
        OSError: the lock file cannot be made; names it.
    """
    from filelock import FileLock, Timeout  # takes longer to import than most commands need it

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(busy) from error
    try:
        yield
    finally:
        lock.release()


def remove_abandoned(folder: Path, name: str = ".") -> None:
    """Remove what killed processes left half-written in a folder; what a living one is writing stays.

    Args:
        name: how the hidden names of what was being written begin.
    """
    from filelock import FileLock, Timeout

    for entry in folder.iterdir():
        if not (entry.name.startswith(name) and entry.name.endswith(WORKPLACE)):
            continue
        try:
            if entry.is_file():  # as version 0.1 left them
                entry.unlink()
                continue
            with FileLock(entry / LOCK, timeout=0):
                shutil.rmtree(entry, ignore_errors=True)
        except (Timeout, OSError):  # in use, or somebody else's, or removed just now
            continue


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: it cannot be read; names it.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file in a second place: as a hard link, or as a copy where the disk has no links between the two."""
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, have reached the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def describe(error: OSError) -> str:
    """An error of the system in one line: the file, the reason, and what to do about it."""
    reason = REASONS.get(error.errno or 0) or error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Errors of the system name the file that the user knows: those of writing name none, others a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # made by a library, which names no file
            raise OSError(f"{target}: {error}") from error
        if error.filename is None or WORKPLACE in str(error.filename):
            error.filename, error.filename2 = str(target), None
        raise


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, removed at the end; and so are those that killed processes left there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name = f".{target.name[:40]}-"
    remove_abandoned(target.parent, name)
    with ExitStack() as stack:
        yield _own_workplace(target.parent, name, stack)


def _own_workplace(parent: Path, name: str, stack: ExitStack) -> Path:
    """A new workplace that `stack` unlocks and removes."""
    from filelock import FileLock, Timeout

    while True:
        workplace = parent / f"{name}{secrets.token_hex(4)}{WORKPLACE}"
        workplace.mkdir()
        stack.callback(shutil.rmtree, workplace, ignore_errors=True)
        try:
            stack.enter_context(FileLock(workplace / LOCK, timeout=0))
        except (Timeout, FileNotFoundError):  # another process saw it before it was locked, and removes it
            continue
        return workplace


def _settle(path: Path, mode: int) -> None:
    """Bring a file or folder to the disk, readable by whoever `mode` lets read."""
    if path.is_file() and path.stat().st_nlink == 1:  # a hard link shares its permissions with its source
        path.chmod(mode & 0o666)
    sync(path)


def _exchange(folder: Path, new: Path, old: Path) -> None:
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        if old.exists():
            old.rename(folder)
        kept = folder.with_name(f"{folder.name}-{secrets.token_hex(4)}")
        new.rename(kept)
        raise ValueError(f"{folder}: cannot be replaced: {error.strerror}; the new files are in {kept}") from error
