"""Errors of the system: the file that the user knows, the reason, and what to do about it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refilm.files.workplaces import WORKPLACE

REASONS = {
    errno.ENOSPC: "the disk is full; free some space, then run this again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run this again",
    errno.EFBIG: "is larger than this system lets a file be; choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "permission denied; change its permissions, or choose another place",
    errno.EPERM: "permission denied; change its permissions, or choose another place",
    errno.ENOENT: "no such file or folder",
}


def describe(error: OSError) -> str:
    """An error of the system in one line: the file, the reason, and what to do about it."""
    reason = REASONS.get(error.errno or 0) or error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


@contextmanager
def naming(target: Path) -> Iterator[None]:
    """Errors of the system name the file that the user knows: those of writing name none, others a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # made by a library, which names no file
            raise OSError(f"{target}: {error}") from error
        if error.filename is None or WORKPLACE in str(error.filename):
            error.filename, error.filename2 = str(target), None
        raise
