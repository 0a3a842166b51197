"""Standard output and error that cannot fail: what a command prints is not its work.

A reader that went away (`| head`, a closed terminal), a full disk under a log or a descriptor that was closed from the
start (`>&-`) must not end a training run or leave a file half done. What cannot be written is dropped, and the work
and its exit code stay what they are. Only what was asked to be printed is a command's work: see `require_printed`.
"""

import errno
import io
import os
import sys
from typing import Any, TextIO

GONE = {errno.EPIPE, errno.EBADF, errno.EIO}  # nobody reads: a pipe, a descriptor or a terminal that was closed


class Forgiving(io.RawIOBase):
    """A file that takes everything, and passes on what its descriptor takes; `failure` is the last error."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError as error:
            self.failure = error
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)


def forgive_streams() -> None:
    """From now on `sys.stdout` and `sys.stderr` drop what they cannot write or encode.

    Closed descriptors become /dev/null: a file that is opened later must not get the number of an output.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = _forgiving(sys.stdout, 1), _forgiving(sys.stderr, 2)


def _forgiving(stream: TextIO | None, descriptor: int) -> io.TextIOWrapper:
    """A text stream like the one that Python opened, or if it opened none, a plain one."""
    return io.TextIOWrapper(
        io.BufferedWriter(Forgiving(descriptor)),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )


def require_printed() -> None:
    """What a command was asked to print must have been written, unless its reader was content with less.

    Raises:
        OSError: a full disk, say.
    """
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, Forgiving) and raw.failure is not None and raw.failure.errno not in GONE:
        raise OSError(f"standard output: {raw.failure.strerror}; what was asked for is not printed in full")
