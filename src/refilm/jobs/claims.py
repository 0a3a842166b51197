"""Claims: any number of processes on a shared disk take rows of a list, each row once.

The claims of a row are the files `NAME.claim-0`, `NAME.claim-1`, ...; the one with the highest number counts. A process
takes a row by creating the next number with O_EXCL, which succeeds in exactly one process, if the highest one was
released or its process is gone. No claim is ever removed, renamed or reused: otherwise a process that is about to
replace an abandoned claim could remove the one that has just taken its place.

A process is gone if it ran on this machine and does not exist any more, or if its claim has had no heartbeat for longer
than `stale_after`. A heartbeat sets the claim's modification time to the time of the disk's own clock, so clocks of
machines need not agree.

What cannot be known: whether a process on another machine is dead, or only stopped for longer than `stale_after`. If it
wakes up, `Claim.is_held` is false for it, and it must discard its work.
"""

import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, takewhile
from pathlib import Path
from typing import Any, NamedTuple

STALE_AFTER = 600.0  # seconds
BEATS, SLOWEST_BEAT = 20, 30.0  # heartbeats within this time, and most seconds between two
UNWRITTEN_AFTER = 10.0  # seconds after which a process was killed between the creation of its claim and the first write
RELEASED = 0.0  # modification time of a released claim


class Process(NamedTuple):
    """Identifies a process, also after its id was given to another."""

    machine: str
    """Host, its last boot, and the namespace of its process ids (containers have their own)."""
    pid: int
    started: str
    """Time of its start, in the kernel's count; empty where the system does not report it."""

    def is_gone(self) -> bool:
        """Whether it is known to have ended; false if it cannot be known here."""
        return self.machine == _machine() and bool(self.started) and _started(self.pid) != self.started


class Claims:
    """The claims of the rows of a list, as files in a folder.

    Args:
        folder: the folder, which exists.
        stale_after: seconds without a heartbeat after which a process counts as gone.
    """

    def __init__(self, folder: Path, *, stale_after: float = STALE_AFTER):
        self.folder, self.stale_after = folder, stale_after

    @contextmanager
    def taken(self, name: str) -> Iterator["Claim | None"]:
        """Within the context this process has the claim of a row; None if another process has it.

        Raises:
            OSError: the folder cannot be written to.
        """
        claim = self._take(name)
        if claim is None:
            yield None
            return
        with claim.beating(min(self.stale_after / BEATS, SLOWEST_BEAT)):
            yield claim

    def deaths(self, name: str) -> int:
        """Number of processes that were killed while they had the claim of a row."""
        return sum(path.stat().st_mtime != RELEASED and self._is_free(path) for path in self._claims(name))

    def _take(self, name: str) -> "Claim | None":
        claims = self._claims(name)
        if claims and not self._is_free(claims[-1]):
            return None
        path, successor = (self._path(name, len(claims) + more) for more in (0, 1))
        content = json.dumps(this_process()._asdict()).encode()
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return None
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
        return Claim(path, successor)

    def _claims(self, name: str) -> list[Path]:
        return [*takewhile(Path.exists, (self._path(name, number) for number in count()))]

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}.claim-{number}"

    def _is_free(self, path: Path) -> bool:
        """Whether a claim was released, or its process is gone."""
        beat, process = path.stat().st_mtime, _process_of(path)
        if beat == RELEASED or (process is not None and process.is_gone()):
            return True
        silence = self._time() - beat
        return silence > self.stale_after or (process is None and silence > UNWRITTEN_AFTER)

    def _time(self) -> float:
        """The time of the disk's clock, which also sets the times of heartbeats."""
        with tempfile.TemporaryFile(dir=self.folder) as file:
            return os.fstat(file.fileno()).st_mtime


class Unshared:
    """In place of `Claims` and `Claim`, if all rows are this process's own."""

    def deaths(self, name: str) -> int:
        """Nothing is known about earlier processes."""
        return 0

    @contextmanager
    def taken(self, name: str) -> Iterator["Unshared | None"]:
        """Within the context this process makes a row."""
        yield self

    def is_held(self) -> bool:
        """Whether no other process has taken the row."""
        return True


class Claim:
    """The claim of a row that this process has taken."""

    def __init__(self, path: Path, successor: Path):
        self._path, self._successor = path, successor

    def is_held(self) -> bool:
        """Whether no other process has taken the row since, because this one seemed to be gone."""
        return not self._successor.exists()

    @contextmanager
    def beating(self, interval: float) -> Iterator[None]:
        """Within the context a thread sends heartbeats; the claim is released at the end."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(interval):
                with suppress(OSError):  # a disk that is away for a while; the next one may succeed
                    os.utime(self._path)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            os.utime(self._path, (RELEASED, RELEASED))


def this_process() -> Process:
    """The process that asks."""
    return process_with(os.getpid())


def process_with(pid: int) -> Process:
    """The process of this machine that has this id now."""
    return Process(_machine(), pid, _started(pid) or "")


def _process_of(path: Path) -> Process | None:
    """The process that took a claim; None if it was killed before it wrote this, or is about to."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Process(str(values["machine"]), int(values["pid"]), str(values["started"]))
    except (ValueError, KeyError, TypeError):
        return None


def _machine() -> str:
    """Identifies the machine, and within it the space of process ids."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux has both
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """When a process of this machine was started; None if there is none, it has ended, or the system has no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *others = text.rpartition(")")[2].split()  # the name before it may contain anything
    return None if state in "ZX" else others[18]  # ended, but not yet waited for
