"""Run a function on many items in worker processes; an item that hangs or crashes cannot stop the others.

Each item has a time limit. A worker that exceeds it is killed. A timeout or a crash is reported as the item's failure,
and a new worker is started. Workers are fresh interpreters: they inherit no threads, do not run the caller's script
again, and import only what the function needs. The module does not depend on the kind of work.
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
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Literal, TypeVar

from refilm.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

CODE = "import sys; from refilm.data.workers import serve; serve(int(sys.argv[1]), float(sys.argv[2]))"
AHEAD = 4  # items per worker that may be started beyond the oldest unfinished one
PATIENCE = 5.0  # seconds to wait for a killed process to exit; it may be blocked by a disk that never responds


@dataclass(frozen=True)
class Failure:
    """The reason why an item has no result."""

    kind: Literal["error", "timeout", "died"]
    """The function raised an exception, exceeded the time limit, or crashed its process."""
    message: str


def in_workers(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    seconds: float,
    in_order: bool = False,
) -> Iterator[tuple[int, Result | Failure]]:
    """Call `function` on every item; yields (index, result or failure) as the items finish.

    While the caller is busy, each worker finishes its current item and then waits.

    Args:
        function: pickled like items and results, so it must be importable by name.
        workers: maximum number of processes.
        seconds: time limit per item. Starting a worker does not count.
        in_order: yield results in the order of the items. Only a few items are started beyond a slow one, which limits
            the number of results in memory.

    Raises:
        UserError: `workers` or `seconds` is out of range.
        RuntimeError: a worker could not import the function.
    """
    if workers < 1:
        raise UserError(f"workers must be 1 or more, received {workers}")
    if not 0 < seconds < math.inf:
        raise UserError(f"seconds must be more than 0, received {seconds}")
    code = pickle.dumps(function)
    if in_order:
        return _ordered(_run(code, items, workers, seconds, AHEAD * workers))
    return _run(code, items, workers, seconds, len(items))


def serve(descriptor: int, seconds: float) -> None:
    """Main loop of a worker: receive a function, then process items until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller handles Ctrl-C and stops the workers
    with Connection(descriptor) as connection, suppress(EOFError, BrokenPipeError):
        function = connection.recv()
        connection.send(None)
        while True:
            item = connection.recv()
            signal.alarm(math.ceil(seconds + PATIENCE))  # the system ends a hanging process even if the caller is gone
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


def _run(
    function: bytes, items: Sequence[Item], workers: int, seconds: float, ahead: int
) -> Generator[tuple[int, Any], None, None]:
    """Outcomes in the order of completion; an item starts only when the item `ahead` places before it is finished."""
    todo, pool = deque(range(len(items))), []
    try:
        while todo or pool:
            while len(pool) < workers and sum(worker.index is None for worker in pool) < len(todo):
                pool.append(_Worker(function, seconds))
            finished = []
            for worker, outcome in _outcomes(pool, seconds):
                if worker.index is not None:
                    finished.append((worker.index, outcome))
                if isinstance(outcome, Failure) and outcome.kind != "error":
                    pool.remove(worker)
                    worker.stop()
                else:
                    worker.mark_idle()
            for worker in [worker for worker in pool if worker.idle]:
                oldest = min((other.index for other in pool if other.index is not None), default=math.inf)
                if not todo:
                    pool.remove(worker)
                    worker.stop()
                elif todo[0] < oldest + ahead:
                    index = todo.popleft()
                    worker.send_item(index, items[index])
            yield from finished
    finally:
        for worker in pool:
            worker.stop()


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
    """A process and its current item; None while the process starts or is idle."""

    def __init__(self, function: bytes, seconds: float):
        self.index: int | None = None
        self.idle = False
        self.deadline = math.inf
        self.connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CODE, str(theirs.fileno()), str(seconds)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
            )
        self.seconds = seconds
        self.connection.send_bytes(function)

    def send_item(self, index: int, item: object) -> None:
        """Send the next item and start its time limit."""
        self.index, self.deadline, self.idle = index, time.monotonic() + self.seconds, False
        with suppress(BrokenPipeError):  # it died after its last response; `outcome` reports that
            self.connection.send(item)

    def mark_idle(self) -> None:
        """Mark the worker as idle, without a time limit."""
        self.index, self.deadline, self.idle = None, math.inf, True

    def outcome(self) -> Any:
        """The result, or the reason why the process died."""
        try:
            return pickle.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionResetError):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
        if self.index is None and not self.idle:
            raise RuntimeError("a worker process could not start; its error message is printed above")
        return Failure("died", _cause(self.process.returncode))

    def stop(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"crashed the worker process (exit code {code})"
    hint = ", possibly out of memory" if code == -signal.SIGKILL else ""
    return f"crashed the worker process ({signal.Signals(-code).name}{hint})"
