"""Locks, and the hidden folders in which things are written before they have their names.

A workplace is locked while its process lives, so that the next write of the same target removes what killed processes
left, and nothing else.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

WORKPLACE = ".unfinished"
LOCK = "lock"


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


@contextmanager
def workplace(target: Path) -> Iterator[Path]:
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
        own = parent / f"{name}{secrets.token_hex(4)}{WORKPLACE}"
        own.mkdir()
        stack.callback(shutil.rmtree, own, ignore_errors=True)
        try:
            stack.enter_context(FileLock(own / LOCK, timeout=0))
        except (Timeout, FileNotFoundError):  # another process saw it before it was locked, and removes it
            continue
        return own
