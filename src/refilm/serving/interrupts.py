"""Interrupts the work of a process's main thread, but only where that is safe.

Two requests exist. `stop` ends the process soon: a sampler step is finished, so that its state can be saved, and other
work ends at once; a second one also ends a step. `drop` ends the current job at once, because it is not this process's
any more.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

WAKE = signal.SIGUSR1  # another thread has made a request


class Interrupted(BaseException):
    """The current work ends here."""


class Interrupts:
    """The requests to a process. Create it in the main thread; it handles SIGTERM, SIGINT and SIGUSR1 from then on."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        """Whether the process is to end."""
        self.dropped = False
        """Whether the current job is not this process's any more."""
        self._urgent = False
        self._within: Literal["nothing", "step", "work"] = "nothing"
        self._main = threading.main_thread().ident
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(WAKE, self._on_wake)

    def stop(self) -> None:
        """End the process soon; from any thread."""
        self.stopping.set()
        self._wake()

    def drop(self) -> None:
        """End the current job; from any thread."""
        self.dropped = True
        self._wake()

    @contextmanager
    def step(self) -> Iterator[None]:
        """The context of a sampler step.

        Raises:
            Interrupted: the job was dropped, or a second stop arrived.
        """
        with self._open("step"):
            yield

    @contextmanager
    def work(self) -> Iterator[None]:
        """The context of other work that can end anywhere.

        Raises:
            Interrupted: the job was dropped, or the process stops.
        """
        with self._open("work"):
            yield

    @contextmanager
    def _open(self, kind: Literal["step", "work"]) -> Iterator[None]:
        self._within = kind
        try:
            self._end()
            yield
        finally:
            self._within = "nothing"

    def _wake(self) -> None:
        if self._main is not None:
            signal.pthread_kill(self._main, WAKE)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._urgent = self.stopping.is_set()
        self.stopping.set()
        self._end()

    def _on_wake(self, number: int, frame: FrameType | None) -> None:
        self._end()

    def _end(self) -> None:
        """End the work if it is requested and can end here."""
        ends = self.dropped or self._urgent or (self._within == "work" and self.stopping.is_set())
        if ends and self._within != "nothing":
            self._within = "nothing"
            raise Interrupted
