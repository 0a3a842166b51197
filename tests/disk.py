"""The calls of this process that change the disk, counted, so that a test can break or stop at any of them."""

import builtins
import io
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


class Disk:
    """Tells each call, before it is made, as its number and the file's name (none where the system knows none).

    A write is told twice: before it, and when half of it is done.
    """

    def __init__(self, patch: pytest.MonkeyPatch, on_call: Callable[[int, str | None], None]):
        self.calls: list[str] = []
        self.on_call = on_call
        for name in ("mkdir", "rename", "fsync", "open", "unlink", "rmdir"):
            patch.setattr(os, name, self._told(name, getattr(os, name)))
        for module in (builtins, io):
            patch.setattr(module, "open", self._opened(builtins.open))

    def call(self, name: str, file: str | None = None) -> None:
        self.calls.append(name)
        self.on_call(len(self.calls), file)

    def _told(self, name, real):
        def told(target, *rest, **named):
            self.call(name, None if isinstance(target, int) else str(target))
            return real(target, *rest, **named)

        return told

    def _opened(self, real):
        disk = self

        class Raw(io.FileIO):
            def write(self, data):
                half = len(data) // 2
                disk.call("write")
                done = super().write(data[:half])
                disk.call("half a write")
                return done + super().write(data[half:])

        def opened(file, mode="r", *rest, **named):
            if isinstance(file, int) or not set(mode) & set("wxa"):
                return real(file, mode, *rest, **named)
            self.call("open for writing", str(file))
            buffered = io.BufferedWriter(Raw(file, mode.replace("b", "")))
            return buffered if "b" in mode else io.TextIOWrapper(buffered)

        return opened


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Within the context no file of this process grows beyond `size` bytes: writes fail as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
