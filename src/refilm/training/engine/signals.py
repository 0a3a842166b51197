"""Signals that stop a run: SIGTERM, SIGHUP and Ctrl-C are recorded, and the loop stops after the current step.

Independent of what is trained; prints nothing.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from signal import SIG_IGN, SIGINT, Signals, getsignal
from signal import signal as handle
from types import FrameType

# SIGHUP: the terminal was closed, or the connection broke
SIGNALS = tuple(Signals[name] for name in ("SIGTERM", "SIGHUP", "SIGINT") if name in Signals.__members__)


@dataclass(frozen=True)
class Stopped:
    """A run stops before its last step: its last event. The finished steps are saved."""

    step: int | None
    """The last step; None: training had not started."""
    signal: Signals | None = None
    """The signal that stopped the run; None: its validations stopped it."""
    reason: str = ""
    """The finding of the validations."""

    def __str__(self) -> str:
        where = "before the first step" if self.step is None else f"after step {self.step}, which is saved"
        return f"stopped {where}: {self.reason}" if self.signal is None else f"stopped by {self.signal.name} {where}"


class Stop:
    """The first signal that this process received."""

    def __init__(self, on_stop: Callable[[], None]):
        self.on_stop = on_stop
        self.received = 0
        """The number of the first signal; 0: none."""

    def take(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        if not self.received:
            self.received = number
            self.on_stop()
        elif number == SIGINT:
            raise KeyboardInterrupt


@contextmanager
def stoppable(on_stop: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Within the context the first of `SIGNALS` is recorded; a later Ctrl-C raises KeyboardInterrupt.

    An ignored signal, such as Ctrl-C in a background job or SIGHUP under `nohup`, stays ignored. Only the main thread
    can receive signals; in other threads nothing changes.

    Args:
        on_stop: called from the handler of the first signal; keep it short.
    """
    stop = Stop(on_stop)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handled = [number for number in SIGNALS if getsignal(number) != SIG_IGN]
    before = {number: handle(number, stop.take) for number in handled}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            if getsignal(number) == stop.take:  # a handler that was set within the context stays
                handle(number, handler)
