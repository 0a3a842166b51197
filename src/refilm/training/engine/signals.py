"""A run that is asked to stop: SIGTERM, SIGHUP and Ctrl-C are taken down, and the loop stops where it suits.

Knows nothing of what is trained, and says nothing itself.
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
    """A run stops before its last step: the last event that it yields. What it has done is saved."""

    step: int | None
    """The last step; None: the run had not begun to train."""
    signal: Signals | None = None
    """What asked for it; None: the run's own validations did."""
    reason: str = ""
    """What they found."""

    def __str__(self) -> str:
        where = "before the first step" if self.step is None else f"after step {self.step}, which is saved"
        return f"stopped {where}: {self.reason}" if self.signal is None else f"stopped by {self.signal.name} {where}"


class Stop:
    """What has asked this process to stop so far."""

    def __init__(self, on_stop: Callable[[], None]):
        self.on_stop = on_stop
        self.asked = 0
        """The number of the first signal; 0: none."""

    def take(self, number: int, frame: FrameType | None) -> None:
        """A signal has come."""
        if not self.asked:
            self.asked = number
            self.on_stop()
        elif number == SIGINT:
            raise KeyboardInterrupt


@contextmanager
def stoppable(on_stop: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Within the context the first of `SIGNALS` is taken down, and a further Ctrl-C is a KeyboardInterrupt.

    What is ignored, as Ctrl-C in a shell's background or SIGHUP under `nohup`, stays ignored. Only the main thread can
    be told of signals; in others nothing is changed.

    Args:
        on_stop: called by the first signal, from its handler: do next to nothing there.
    """
    stop = Stop(on_stop)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard = [number for number in SIGNALS if getsignal(number) != SIG_IGN]
    before = {number: handle(number, stop.take) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            handle(number, handler)
