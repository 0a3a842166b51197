"""The course of a training run, on a terminal as a bar that lives, elsewhere as a plain line now and then."""

import time
from collections import deque
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from refilm.cli.showing import clock

if TYPE_CHECKING:
    from refilm.training.loop import Progress

WINDOW = 50  # steps over which loss and pace are averaged
EVERY = 10.0  # seconds between plain lines


def course_of(console: Console, *, first: bool) -> "Course":
    """What suits the place: only the first of several processes tells, and only a terminal shows what lives."""
    if not first:
        return Course()
    return Live(console) if console.is_terminal else Lines()


class Pace:
    """The last steps' mean loss and duration."""

    def __init__(self) -> None:
        self.recent: deque[Progress] = deque(maxlen=WINDOW)

    def tell(self, progress: "Progress") -> str:
        """The step's loss, pace, and the time that is left."""
        self.recent.append(progress)
        loss = sum(step.loss for step in self.recent) / len(self.recent)
        seconds = sum(step.seconds for step in self.recent) / len(self.recent)
        left = clock(seconds * (progress.steps - progress.step))
        return f"loss {loss:.4f}  {seconds:.2f} s/step  {left} left"


def scores(progress: "Progress") -> str:
    """A validation's scores."""
    return "  ".join(f"{name} {value:.4f}" for name, value in progress.scores.items())


class Course(AbstractContextManager):
    """Shows nothing; a context that is entered before the run begins."""

    def __exit__(self, *error: object) -> None: ...

    def encoded(self, done: int, total: int) -> None:
        """Some clips are encoded."""

    def step(self, progress: "Progress") -> None:
        """A step is done."""


class Live(Course):
    """A bar with the pace behind it; each validation leaves a line above."""

    def __init__(self, console: Console):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        self.bars, self.pace = Bars(*columns, console=console), Pace()
        self.task = self.bars.add_task("loading", total=None, pace="")

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def encoded(self, done: int, total: int) -> None:
        self.bars.update(self.task, description="encoding clips", completed=done, total=total)

    def step(self, progress: "Progress") -> None:
        done, pace = progress.step, self.pace.tell(progress)
        self.bars.update(self.task, description="training", completed=done, total=progress.steps, pace=pace)
        if progress.scores:
            self.bars.console.print(f"step {done}: {scores(progress)}", highlight=False)


class Lines(Course):
    """A line every few seconds, at each validation and at the end."""

    def __init__(self, every: float = EVERY):
        self.every, self.last, self.pace = every, -every, Pace()

    def encoded(self, done: int, total: int) -> None:
        self._tell(f"encoded {done} of {total} clips", now=done == total)

    def step(self, progress: "Progress") -> None:
        line = f"step {progress.step} of {progress.steps}  {self.pace.tell(progress)}  {scores(progress)}"
        self._tell(line.rstrip(), now=bool(progress.scores) or progress.step == progress.steps)

    def _tell(self, line: str, *, now: bool) -> None:
        if now or time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            typer.echo(line)
