"""Standard output and error that never raise, so that a failing log cannot stop a command.

A reader that exits (`| head`, a closed terminal), a full disk below a log or a descriptor that was closed from the
start (`>&-`) must not end a training run or leave a file partly written. Output that cannot be written is dropped; the
command continues and its exit code does not change. Commands whose purpose is to print call `require_printed`.
"""

import errno
import io
import os
import sys
from typing import Any, TextIO

from refilm.errors import MachineError

GONE = {errno.EPIPE, errno.EBADF, errno.EIO}  # no reader: a closed pipe, descriptor or terminal


class SafeOutput(io.RawIOBase):
    """A raw file that writes what its descriptor accepts and drops the rest; `failure` is the last error."""

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


def install_safe_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr` by streams that drop what they cannot write or encode.

    Closed descriptors are opened as /dev/null, so that no file opened later gets the number of an output.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = _safe(sys.stdout, 1), _safe(sys.stderr, 2)


def _safe(stream: TextIO | None, descriptor: int) -> io.TextIOWrapper:
    """A text stream like the one that Python opened, or a plain one if it opened none."""
    return io.TextIOWrapper(
        io.BufferedWriter(SafeOutput(descriptor)),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )


def require_printed() -> None:
    """Check that all output of a command was written, unless its reader closed the pipe.

    Raises:
        MachineError: output was lost, for instance because the disk is full.
    """
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, SafeOutput) and raw.failure is not None and raw.failure.errno not in GONE:
        raise MachineError(f"standard output: {raw.failure.strerror}; the output is incomplete")
