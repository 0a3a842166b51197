"""One writer of a cache at a time, whichever command it is: a second one waits until the first has ended."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


@contextmanager
def only_writer(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a cache until the context ends. A process that is killed gives it up.

    A cache on a read-only disk is held by nobody: nothing can change it.

    Args:
        on_wait: called if another process holds it, before its end is waited for.
    """
    from filelock import FileLock, Timeout  # takes longer to import than most commands need it

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
