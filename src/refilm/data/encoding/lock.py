"""Ensure that only one command writes to a cache at a time; a second one waits for the first to end."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


@contextmanager
def only_writer(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Lock a cache until the context ends. The lock of a killed process is released.

    A cache on a read-only disk is not locked, because it cannot change.

    Args:
        on_wait: called before waiting for another process that has locked the cache.
    """
    from filelock import FileLock, Timeout  # slow to import

    lock = FileLock(folder / LOCK)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
    try:
        yield
    finally:
        lock.release()
