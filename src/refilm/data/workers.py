"""Run a function on many items in worker processes; an item that hangs or crashes cannot stop the others.

Each item has a time limit. A worker that exceeds it is killed. A timeout or a crash is reported as the item's failure,
and a new worker is started. Workers are fresh interpreters: they inherit no threads, do not run the caller's script
again, and import only what the function needs. The module does not depend on the kind of work.

Not pebble: it needs a script with a guarded `__main__`, and there an item that hangs outlives a killed caller.
"""

import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Literal, Self, TypeVar

from refilm.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

CODE = "import sys; from refilm.data.workers import serve; serve(int(sys.argv[1]), float(sys.argv[2]))"
AHEAD = 4  # items per worker that may be started beyond the oldest unfinished one
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # NumPy's, which otherwise starts a thread per core in every worker
LONGEST = 1_000_000  # seconds, far below what the system's timers take
PATIENCE = 5.0  # seconds to wait for a killed process to exit; it may be blocked by a disk that never responds


@dataclass(frozen=True)
class Failure:
    """The reason why an item has no result."""

    kind: Literal["error", "timeout", "died"]
    """The function raised an exception, exceeded the time limit, or crashed its process."""
    message: str


class Workers:
    """Up to `count` processes, for as many calls of `run` as a `with` block contains.

    Processes start as they are needed: twice as many as are ready, so that a short list does not wait for processes
    that come too late to help. They stay until the end of the block.

    Args:
        count: maximum number of processes.
        seconds: time limit per item. Starting a process does not count.

    Raises:
        UserError: `count` or `seconds` is out of range.
    """

    def __init__(self, count: int, *, seconds: float):
        if count < 1:
            raise UserError(f"workers must be 1 or more, received {count}")
        if not 0 < seconds <= LONGEST:
            raise UserError(f"seconds must be more than 0 and at most {LONGEST:,}, received {seconds}")
        self.count, self.seconds = count, seconds
        self._pool: list[_Worker] = []
        self._busy = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._remove(self._pool)

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, in_order: bool = False
    ) -> Iterator[tuple[int, Result | Failure]]:
        """Call `function` on every item; yields (index, result or failure) as the items finish.

        While the caller is busy, each process finishes its current item and then waits.

        Args:
            function: pickled like items and results, so it must be importable by name.
            in_order: yield results in the order of the items. Only a few items are started beyond a slow one, which
                limits the number of results in memory.

        Raises:
            RuntimeError: a process could not import the function, or an earlier call has not ended.
        """
        code = pickle.dumps(function)
        if in_order:
            return _ordered(self._run(code, items, AHEAD * self.count))
        return self._run(code, items, len(items))

    def _run(self, code: bytes, items: Sequence[Item], ahead: int) -> Generator[tuple[int, Any], None, None]:
        """Outcomes as the items finish; an item starts only when the item `ahead` places before it is finished."""
        if self._busy:
            raise RuntimeError("these processes still work for an earlier call of run; close it, or use it up")
        self._busy, todo = True, deque(range(len(items)))
        for worker in self._pool if items else ():
            worker.load(code)
        try:
            while todo or any(worker.index is not None for worker in self._pool):
                self._start(code, len(todo))
                finished = self._finished()
                for worker in self._pool:
                    oldest = min((other.index for other in self._pool if other.index is not None), default=math.inf)
                    if worker.idle and todo and todo[0] < oldest + ahead:
                        index = todo.popleft()
                        worker.send_item(index, items[index])
                yield from finished
        finally:
            self._busy = False
            self._remove([worker for worker in self._pool if worker.index is not None])

    def _start(self, code: bytes, todo: int) -> None:
        """Start the processes that the items to do need, at most twice as many as are ready."""
        ready = sum(worker.ready for worker in self._pool)
        free = sum(worker.index is None for worker in self._pool)
        while len(self._pool) < min(self.count, max(1, 2 * ready)) and free < todo:
            self._pool.append(_Worker(code, self.seconds))
            free += 1

    def _finished(self) -> list[tuple[int, Any]]:
        """Wait until a worker responds, dies or exceeds its time; the items that are finished, with their outcomes."""
        finished = []
        for worker, outcome in _outcomes(self._pool, self.seconds):
            if worker.index is not None:
                finished.append((worker.index, outcome))
            if isinstance(outcome, Failure) and outcome.kind != "error":
                self._remove([worker])
            else:
                worker.mark_answered()
        return finished

    def _remove(self, workers: "Sequence[_Worker]") -> None:
        for worker in tuple(workers):
            self._pool.remove(worker)
            worker.stop()


def serve(descriptor: int, seconds: float) -> None:
    """Main loop of a worker: receives a function, alone or with an item, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller handles Ctrl-C and stops the workers
    loaded: Callable[[bytes], Callable[[Any], Any]] = cache(pickle.loads)
    with Connection(descriptor) as connection, suppress(EOFError, BrokenPipeError):
        while True:
            code, items = connection.recv()
            function = loaded(code)
            if not items:
                connection.send(None)
            for item in items:
                signal.alarm(math.ceil(seconds + PATIENCE))  # ends a process that hangs, also if the caller is gone
                answer = _answer(function, item)
                signal.alarm(0)
                connection.send_bytes(answer)


def _answer(function: Callable[[Any], Any], item: Any) -> bytes:
    try:
        return pickle.dumps(function(item))
    except UserError as error:
        return pickle.dumps(Failure("error", str(error)))
    except Exception as error:  # damaged files can raise any exception
        return pickle.dumps(Failure("error", f"{type(error).__name__}: {error}"))


def _ordered(outcomes: Generator[tuple[int, Any], None, None]) -> Iterator[tuple[int, Any]]:
    waiting: dict[int, Any] = {}
    due = 0
    with closing(outcomes):
        for index, outcome in outcomes:
            waiting[index] = outcome
            while due in waiting:
                yield due, waiting.pop(due)
                due += 1


def _outcomes(pool: "list[_Worker]", seconds: float) -> "list[tuple[_Worker, Any]]":
    """Wait until a worker responds, dies or exceeds its time; returns all such workers with their outcomes."""
    soonest = min(worker.deadline for worker in pool)
    left = None if soonest == math.inf else max(0.0, soonest - time.monotonic())
    ready = wait([worker.connection for worker in pool], left)
    now = time.monotonic()
    late = Failure("timeout", f"took longer than {seconds:g} s")
    return [
        (worker, worker.outcome() if worker.connection in ready else late)
        for worker in pool
        if worker.connection in ready or now >= worker.deadline
    ]


class _Worker:
    """A process, the item that it works on, if any, and the number of functions that it has still to load."""

    def __init__(self, code: bytes, seconds: float):
        self.index: int | None = None
        self.loading = 0
        self.ready = False
        self.deadline = math.inf
        self.connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CODE, str(theirs.fileno()), str(seconds)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
            )
        self.seconds = seconds
        self.load(code)

    def load(self, code: bytes) -> None:
        """Send the pickled function that the next items are for; the process responds when it is imported."""
        self.code, self.loading = code, self.loading + 1
        self._send()

    def send_item(self, index: int, item: object) -> None:
        """Send the next item and start its time limit."""
        self.index, self.deadline = index, time.monotonic() + self.seconds
        self._send(item)

    def mark_answered(self) -> None:
        """The item is done, or one function is loaded. A list may end before its last process has loaded anything."""
        self.loading -= self.index is None
        self.index, self.deadline, self.ready = None, math.inf, True

    @property
    def idle(self) -> bool:
        """Whether the process waits for an item."""
        return self.index is None and not self.loading

    def outcome(self) -> Any:
        """The result, or the reason why the process died."""
        try:
            return _unpickled(self.connection.recv_bytes())
        except (EOFError, ConnectionResetError):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
        if not self.ready:
            raise RuntimeError("a worker process could not start; its error message is printed above")
        return Failure("died", _cause(self.process.returncode))

    def stop(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)

    def _send(self, *items: object) -> None:
        with suppress(BrokenPipeError):  # it died after its last response; `outcome` reports that
            self.connection.send((self.code, items))


def _unpickled(answer: bytes) -> Any:
    try:
        return pickle.loads(answer)
    except Exception as error:  # the classes of results can raise any exception
        return Failure("error", f"{type(error).__name__}: {error}")


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"crashed the worker process (exit code {code})"
    hint = ", possibly out of memory" if code == -signal.SIGKILL else ""
    return f"crashed the worker process ({signal.Signals(-code).name}{hint})"
