"""A command that is told to end cleans up on its way out, as it does after Ctrl-C.

SIGTERM comes from `kill`, `timeout`, schedulers and containers, SIGHUP from a terminal that is closed. Both end a
process at once where nobody listens, and what it had half written stays. A training run listens for itself.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(BaseException):
    """A signal asked this process to end."""

    def __init__(self, number: int):
        self.code = 128 + number
        """The exit code by which shells tell that."""
        super().__init__(signal.Signals(number).name)


@contextmanager
def terminable() -> Iterator[None]:
    """Within the context the first of `SIGNALS` raises `Terminated`; others are ignored while it is cleaned up.

    A signal that is ignored, as under nohup, stays ignored. Only the main thread can be told of signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        for one in heard:
            signal.signal(one, signal.SIG_IGN)
        raise Terminated(number)

    try:
        for number in heard:
            signal.signal(number, end)
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)
