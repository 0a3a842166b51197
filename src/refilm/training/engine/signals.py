"""A run that is asked to stop: SIGTERM, SIGHUP and Ctrl-C are taken down, and the loop stops where it suits.

Knows nothing of what is trained, and says nothing itself.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# SIGHUP: the terminal was closed, or the connection broke
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name))


class Stopped(Exception):  # noqa: N818  # it is no error
    """A run was asked to stop by a signal, and has saved where it was; step None: it had not begun."""

    def __init__(self, step: int | None, number: int):
        self.step, self.signal = step, signal.Signals(number)
        where = "before the first step" if step is None else f"after step {step}, which is saved"
        super().__init__(f"stopped by {self.signal.name} {where}")


class Ended(Exception):  # noqa: N818  # it is no error
    """A run found that going on makes no sense, and has saved where it was."""

    def __init__(self, step: int, words: str):
        self.step, self.words = step, words
        super().__init__(f"ended after step {step}, which is saved: {words}")


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
        elif number == signal.SIGINT:
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
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop.take) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
