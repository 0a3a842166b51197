"""A function on many items in worker processes, which a hostile item can neither hang nor take down.

Each item has a time limit. A worker that goes over it is killed, one that dies is missed; both are told as the
item's failure, and another worker takes the place. Workers are fresh interpreters: they inherit no threads, do not
run the caller's script again, and import what the function needs and no more. Knows nothing of what is worked on.
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

Item = TypeVar("Item")
Result = TypeVar("Result")

CODE = "import sys; from refilm.data.workers import serve; serve(int(sys.argv[1]), float(sys.argv[2]))"
AHEAD = 4  # items that each worker may be ahead of the oldest one that is not finished
PATIENCE = 5.0  # seconds for a killed process to be gone; the disk it waits for may never answer


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    kind: Literal["error", "timeout", "died"]
    """The function raised, took too long, or took its process with it."""
    message: str


def in_workers(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    seconds: float,
    in_order: bool = False,
) -> Iterator[tuple[int, Result | Failure]]:
    """Call `function` on every item; yields (its index, its result or failure) as they finish.

    While the caller is busy the workers go on by one item each, and then wait for it.

    Args:
        function: like items and results it is pickled, so it must be importable by its name.
        workers: how many processes, at most.
        seconds: the time limit of one item. Starting a worker does not count.
        in_order: yield in the order of the items. Few run ahead of a slow one, so that few results are held.

    Raises:
        ValueError: no workers, or no time.
        RuntimeError: a worker could not even import the function.
    """
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, received {workers}")
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be more than 0, received {seconds}")
    code = pickle.dumps(function)
    if in_order:
        return _ordered(_run(code, items, workers, seconds, AHEAD * workers))
    return _run(code, items, workers, seconds, len(items))


def serve(descriptor: int, seconds: float) -> None:
    """What a worker does: it receives a function, then items until nobody sends any more, and answers each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, who then ends the workers
    with Connection(descriptor) as connection, suppress(EOFError, BrokenPipeError):
        function = connection.recv()
        connection.send(None)
        while True:
            item = connection.recv()
            signal.alarm(math.ceil(seconds + PATIENCE))  # the system ends what hangs even if the caller is gone
            answer = _answer(function, item)
            signal.alarm(0)
            connection.send_bytes(answer)


def _answer(function: Callable[[Any], Any], item: Any) -> bytes:
    try:
        return pickle.dumps(function(item))
    except ValueError as error:
        return pickle.dumps(Failure("error", str(error)))
    except Exception as error:  # whatever a damaged file provokes is that file's fault
        return pickle.dumps(Failure("error", f"{type(error).__name__}: {error}"))


def _run(
    function: bytes, items: Sequence[Item], workers: int, seconds: float, ahead: int
) -> Generator[tuple[int, Any], None, None]:
    """Outcomes as they come; no item is begun while the `ahead`th before it is unfinished."""
    todo, crew = deque(range(len(items))), []
    try:
        while todo or crew:
            while len(crew) < workers and sum(worker.index is None for worker in crew) < len(todo):
                crew.append(_Worker(function, seconds))
            finished = []
            for worker, outcome in _heard(crew, seconds):
                if worker.index is not None:
                    finished.append((worker.index, outcome))
                if isinstance(outcome, Failure) and outcome.kind != "error":
                    crew.remove(worker)
                    worker.stop()
                else:
                    worker.rest()
            for worker in [worker for worker in crew if worker.idle]:
                oldest = min((other.index for other in crew if other.index is not None), default=math.inf)
                if not todo:
                    crew.remove(worker)
                    worker.stop()
                elif todo[0] < oldest + ahead:
                    index = todo.popleft()
                    worker.give(index, items[index])
            yield from finished
    finally:
        for worker in crew:
            worker.stop()


def _ordered(outcomes: Generator[tuple[int, Any], None, None]) -> Iterator[tuple[int, Any]]:
    held: dict[int, Any] = {}
    due = 0
    with closing(outcomes):
        for index, outcome in outcomes:
            held[index] = outcome
            while due in held:
                yield due, held.pop(due)
                due += 1


def _heard(crew: "list[_Worker]", seconds: float) -> "list[tuple[_Worker, Any]]":
    """Wait until a worker answers, dies or is late; all that have, each with its outcome."""
    soonest = min(worker.deadline for worker in crew)
    left = None if soonest == math.inf else max(0.0, soonest - time.monotonic())
    ready = wait([worker.connection for worker in crew], left)
    now = time.monotonic()
    late = Failure("timeout", f"took longer than {seconds:g} s")
    return [
        (worker, worker.outcome() if worker.connection in ready else late)
        for worker in crew
        if worker.connection in ready or now >= worker.deadline
    ]


class _Worker:
    """A process and the item it has: none while it starts, and while it rests."""

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

    def give(self, index: int, item: object) -> None:
        """Hand over the next item; the clock starts."""
        self.index, self.deadline, self.idle = index, time.monotonic() + self.seconds, False
        with suppress(BrokenPipeError):  # it has died since its last answer, as `outcome` will tell
            self.connection.send(item)

    def rest(self) -> None:
        """Wait for the next item; no clock runs."""
        self.index, self.deadline, self.idle = None, math.inf, True

    def outcome(self) -> Any:
        """The answer, or of what the process died."""
        try:
            return pickle.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionResetError):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
        if self.index is None and not self.idle:
            raise RuntimeError("a worker process could not start; its own complaint stands above")
        return Failure("died", _cause(self.process.returncode))

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"took its process down with it (exit code {code})"
    hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
    return f"took its process down with it ({signal.Signals(-code).name}{hint})"
