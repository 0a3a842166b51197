"""Keeps the worker processes of a server running, and does the store's regular work. It knows no model.

If the server is killed, its workers notice it, save their state and end; their jobs stay in the store.
"""

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from refilm.files import describe
from refilm.serving.retention import retain
from refilm.serving.store import Store

logger = logging.getLogger("refilm")
TICK = 0.25  # seconds between looks at the workers
RETAIN = 60.0  # seconds between cleanups
BACK_OFF, LONGEST_BACK_OFF = 0.5, 60.0  # seconds before a worker is started again
STABLE = 60.0  # seconds after which a worker counts as started well
GRACE = 30.0  # seconds that a worker has to save its state


class _Slot:
    """A place for one worker: its process, which is started again whenever it has ended."""

    def __init__(self, command: Sequence[str]):
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self._started = self._next = 0.0
        self._pause = BACK_OFF

    def keep_running(self) -> None:
        """Start the process if it does not run, later each time it ends early."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            code, self.process = self.process.returncode, None
            self._wait(now)
            logger.warning("a worker ended with code %d; it is started again in %.0f s", code, self._pause)
        if self.process is None and now >= self._next:
            self._start(now)

    def _start(self, now: float) -> None:
        self._started = now
        try:
            # In its own session, so that Ctrl-C reaches the server alone, which then stops its workers.
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:  # no memory, too many processes
            self._wait(now)
            logger.warning("a worker cannot be started: %s; it is tried again in %.0f s", describe(error), self._pause)

    def _wait(self, now: float) -> None:
        """Start no process for a while, which is longer each time one ended early."""
        self._pause = BACK_OFF if now - self._started > STABLE else min(LONGEST_BACK_OFF, 2 * self._pause)
        self._next = now + self._pause


class Supervisor:
    """Runs workers from `start` until `stop`.

    Args:
        store: the store.
        commands: the command of each worker.
    """

    def __init__(self, store: Store, commands: Sequence[Sequence[str]]):
        self.store = store
        self._slots = [_Slot(command) for command in commands]
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._keep_running, self._keep_clean)]

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the workers, which save the state of their jobs and give them back."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        processes = [slot.process for slot in self._slots if slot.process is not None]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + GRACE
        for process in processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning(
                    "worker %d does not end; it is killed, and its job continued by the next one", process.pid
                )
                process.kill()
                process.wait()

    def pids(self) -> list[int]:
        """The process ids of the workers that run."""
        return [slot.process.pid for slot in self._slots if slot.process is not None and slot.process.poll() is None]

    def _keep_running(self) -> None:
        while True:
            for slot in self._slots:
                self._without_end(slot.keep_running)
            self._without_end(self.store.leases.recover)
            if self._stopping.wait(TICK):
                return

    def _keep_clean(self) -> None:
        while True:
            self._without_end(lambda: retain(self.store))
            if self._stopping.wait(RETAIN):
                return

    def _without_end(self, work: Callable[[], object]) -> None:
        """Do regular work; an error is logged, and the work tried again the next time."""
        try:
            work()
        except Exception:  # a server without workers would be worse
            logger.exception("the supervisor could not do its work")
