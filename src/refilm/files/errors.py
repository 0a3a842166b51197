"""Operating-system errors as one line: the file, the reason, and how to fix it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refilm.errors import MachineError, UserError
from refilm.files.temporary import SUFFIX

REASONS = {
    errno.ENOSPC: "the disk is full; free some space, then run this again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run this again",
    errno.EFBIG: "exceeds the largest file size of this file system; choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "permission denied; change its permissions, or choose another place",
    errno.EPERM: "permission denied; change its permissions, or choose another place",
    errno.ENOENT: "no such file or folder",
}


def describe(error: OSError) -> str:
    """An operating-system error in one line: the file, the reason, and how to fix it."""
    reason = REASONS.get(error.errno or 0) or error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


@contextmanager
def system_errors() -> Iterator[None]:
    """Within the context, an error of the operating system becomes a UserError in one line.

    It surrounds a whole command, because any file can meet a full disk or a missing permission. Such an error has a
    number. An OSError without a number comes from a library and says nothing that a user could fix: it is unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(describe(error)) from error


@contextmanager
def naming(target: Path) -> Iterator[None]:
    """Make operating-system errors name `target` instead of a temporary file or no file at all."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # raised by a library without naming a file
            raise MachineError(f"{target}: {error}") from error
        if error.filename is None or SUFFIX in str(error.filename):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
