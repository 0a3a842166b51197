"""Bombs: small files that unpack to more than any machine has. What reading them may take is bounded."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Row = TypeVar("Row")
MOST = 4 * 2**30  # bytes that one row may take, unpacked, and copied as often as libraries do


class TooMuchError(ValueError):
    """A file unpacks to more than its reader may take."""


def bounded(rows: Iterator[Row], place: str) -> Iterator[Row]:
    """The same rows, each read within the bounds of `bounded_memory`."""
    while True:
        with bounded_memory(place):
            try:
                row = next(rows)
            except StopIteration:
                return
        yield row


@contextmanager
def bounded_memory(place: str) -> Iterator[None]:
    """Let this process take no more than `MOST` bytes beyond what it has; on Linux, whose kernel sees to it.

    Raises:
        TooMuchError: it would take more; names the place.
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
        finally:  # first of all: telling of it takes memory, too
            resource.setrlimit(resource.RLIMIT_DATA, before)
    except MemoryError as error:
        message = (
            f"takes more than {MOST:,} bytes to unpack; leave it out, or if it is sound, write it in smaller parts"
        )
        raise TooMuchError(f"{place}: {message}") from error


def _taken() -> int:
    """Bytes of memory that this process can write to, as the limit counts them."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmData:")[1].split()[0])
