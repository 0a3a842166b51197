"""Limit the memory used to read decompression bombs: small files that unpack to more memory than a machine has."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from refilm.errors import UserError

Row = TypeVar("Row")
MOST = 4 * 2**30  # bytes that one unpacked row may use, including copies made by libraries


class TooMuchError(UserError):
    """A file unpacks to more memory than allowed."""


def bounded(rows: Iterator[Row], place: str) -> Iterator[Row]:
    """The same rows, each read within `bounded_memory`."""
    while True:
        with bounded_memory(place):
            try:
                row = next(rows)
            except StopIteration:
                return
        yield row


@contextmanager
def bounded_memory(place: str) -> Iterator[None]:
    """Limit the memory of this process to `MOST` bytes more than it uses now. Only on Linux.

    Raises:
        TooMuchError: the limit was exceeded. The error names the place.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [_taken() + MOST, *(most for most in before if most != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), before[1]))
    try:
        try:
            yield
        finally:  # first, because creating the error needs memory, too
            resource.setrlimit(resource.RLIMIT_DATA, before)
    except MemoryError as error:
        message = (
            f"takes more than {MOST:,} bytes to unpack; exclude it, or if it is valid, split it into smaller parts"
        )
        raise TooMuchError(f"{place}: {message}") from error


def _taken() -> int:
    """Bytes of writable memory of this process, as counted by the limit."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmData:")[1].split()[0])
