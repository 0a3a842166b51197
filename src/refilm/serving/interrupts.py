"""Ends the work of a worker, but only where that is safe: before a module of the model runs, or between two steps.

Two requests exist. `stop` ends the process soon: a sampler step is finished, so that its state can be saved, and other
work ends at once; a second signal also ends a step. `drop` ends the current job at once, because it is not this
process's any more. A request only sets a value; nothing is raised by a signal or by another thread, which could leave
a model half changed.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from torch.nn.modules.module import register_module_forward_pre_hook

SLICE = 0.1  # seconds between looks at the requests while nothing is done


class Interrupted(BaseException):
    """The current work ends here."""


class Interrupts:
    """The requests to a process."""

    def __init__(self) -> None:
        self.stopping = False
        """Whether the process is to end."""
        self.dropped = False
        """Whether the current job is not this process's any more."""
        self._urgent = False

    def install(self) -> None:
        """Handle SIGTERM and SIGINT as requests to stop; only the main thread can do this."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def stop(self) -> None:
        """End the process soon; from any thread."""
        self.stopping = True

    def drop(self) -> None:
        """End the current job; from any thread."""
        self.dropped = True

    def wait(self, seconds: float) -> None:
        """Wait, but not while the process is to end."""
        until = time.monotonic() + seconds
        while not self.stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(SLICE, left))

    @contextmanager
    def step(self) -> Iterator[None]:
        """The context of a sampler step, in which every module of the model checks the requests.

        Raises:
            Interrupted: the job was dropped, or a second signal arrived.
        """
        with _before_modules(self._end_step):
            yield

    @contextmanager
    def work(self) -> Iterator[None]:
        """The context of other work of the model.

        Raises:
            Interrupted: the job was dropped, or the process is to end.
        """
        with _before_modules(self.end_work):
            yield

    def end_work(self) -> None:
        """Between two pieces of work.

        Raises:
            Interrupted: the job was dropped, or the process is to end.
        """
        if self.dropped or self.stopping:
            raise Interrupted

    def _end_step(self) -> None:
        if self.dropped or self._urgent:
            raise Interrupted

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._urgent = self.stopping
        self.stopping = True


@contextmanager
def _before_modules(check: Callable[[], None]) -> Iterator[None]:
    """Within the context, `check` is called before any module runs."""
    check()
    hook = register_module_forward_pre_hook(lambda module, inputs: check())
    try:
        yield
    finally:
        hook.remove()
