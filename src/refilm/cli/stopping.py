"""Clean up when a command is terminated by a signal, as after Ctrl-C.

SIGTERM comes from `kill`, `timeout`, schedulers and containers, SIGHUP from a closed terminal. Without a handler both
end the process at once and leave partly written files behind. A training run has its own handlers.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(BaseException):
    """The process received a signal that ends it."""

    def __init__(self, number: int):
        self.code = 128 + number
        """The exit code that shells use for this."""
        super().__init__(signal.Signals(number).name)


@contextmanager
def terminable() -> Iterator[None]:
    """Within the context the first of `SIGNALS` raises `Terminated`; later ones are ignored during the cleanup.

    A signal that is ignored, as under nohup, stays ignored. Only the main thread can receive signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        for one in handled:
            signal.signal(one, signal.SIG_IGN)
        raise Terminated(number)

    try:
        for number in handled:
            signal.signal(number, end)
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
