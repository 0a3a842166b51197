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


@contextmanager
def deferred() -> Iterator[None]:
    """Within the context a signal that ends the process waits for its end; a second one does not wait.

    So that a step is either done or not, and what is saved after it is consistent.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *SIGNALS)}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    waiting: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if waiting:
            handlers[number](number, frame)
        waiting.append(number)

    try:
        for number in handlers:
            signal.signal(number, wait)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if waiting:
        handlers[waiting[0]](waiting[0], None)
