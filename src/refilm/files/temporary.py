"""Locks, and the hidden temporary folders that files are written to before they are renamed.

A temporary folder is locked while its process runs, so that the next write of the same target can remove the folders
of killed processes and no others.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from refilm.errors import UserError

SUFFIX = ".unfinished"
LOCK = "lock"


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Lock the file `path` until the context ends. The lock of a killed process is released.

    Raises:
        UserError: another process has the lock; `busy` is the message.
        OSError: the lock file cannot be created. The error names it.
    """
    from filelock import FileLock, Timeout  # slow to import

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(busy) from error
    try:
        yield
    finally:
        lock.release()


def remove_abandoned(folder: Path, name: str = ".") -> None:
    """Remove the temporary folders of killed processes; those of running processes are kept.

    Args:
        name: prefix of the temporary folders' names.
    """
    from filelock import FileLock, Timeout

    for entry in folder.iterdir():
        if not (entry.name.startswith(name) and entry.name.endswith(SUFFIX)):
            continue
        try:
            if entry.is_file():  # version 0.1 used temporary files
                entry.unlink()
                continue
            with FileLock(entry / LOCK, timeout=0):
                shutil.rmtree(entry, ignore_errors=True)
        except (Timeout, OSError):  # in use, owned by another user, or already removed
            continue


def remove_unfinished(target: Path) -> None:
    """Remove the temporary folders of processes that were killed while they wrote `target`."""
    remove_abandoned(target.parent, _prefix(target))


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yield a hidden temporary folder beside `target` and remove it at the end, like those of killed processes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(target)
    with ExitStack() as stack:
        yield _new_folder(target.parent, _prefix(target), stack)


def _prefix(target: Path) -> str:
    return f".{target.name[:40]}-"


def _new_folder(parent: Path, name: str, stack: ExitStack) -> Path:
    """Create a temporary folder that `stack` unlocks and removes."""
    from filelock import FileLock, Timeout

    while True:
        own = parent / f"{name}{secrets.token_hex(4)}{SUFFIX}"
        own.mkdir()
        stack.callback(shutil.rmtree, own, ignore_errors=True)
        try:
            stack.enter_context(FileLock(own / LOCK, timeout=0))
        except (Timeout, FileNotFoundError):  # another process found it before it was locked and is removing it
            continue
        return own
