"""Progress of a training run: a live display on a terminal, occasional plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live as Display
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from refilm.cli.console import clock, print_line
from refilm.cli.encoding import EncodingPace
from refilm.hub import listening
from refilm.printable import printable
from refilm.training.monitor.memory import most_memory

if TYPE_CHECKING:
    from refilm.data.encoding import EncodeProgress
    from refilm.training.engine.loop import Progress
    from refilm.training.engine.parameters import ParameterTable

WINDOW = 50  # steps over which loss and pace are averaged
EVERY = 10.0  # seconds between plain lines
LINE_SCORES = ("right", "wrong", "none")  # the scores that fit in a line; the log has all of them


def display_for(console: Console, *, first: bool) -> "RunDisplay":
    """The display for a console: only the first process prints, and only a terminal gets a live display."""
    if not first:
        return RunDisplay()
    return LiveDisplay(console) if console.is_terminal else LineDisplay()


class Pace:
    """Mean loss and duration of recent steps, and the gap of the last validation."""

    def __init__(self) -> None:
        self.recent: deque[Progress] = deque(maxlen=WINDOW)
        self.gap = ""

    def take(self, progress: "Progress") -> dict[str, str]:
        """The figures to print after a step, by name."""
        self.recent.append(progress)
        if "gap" in progress.scores:
            self.gap = f"{progress.scores['gap']:.4f} ± {progress.scores['gap_error']:.4f}"
        loss = sum(step.loss for step in self.recent) / len(self.recent)
        seconds = sum(step.seconds for step in self.recent) / len(self.recent)
        samples = sum(step.samples for step in self.recent) / len(self.recent)
        figures = {"loss": f"{loss:.4f}", "gap": self.gap}
        figures["pace"] = f"{samples / seconds:.1f} clips/s" if samples and seconds else f"{seconds:.2f} s/step"
        return {
            **figures,
            "left": clock(seconds * (progress.steps - progress.step)),
            "memory": f"{most_memory():.1f} GiB",
        }


def scores(progress: "Progress") -> str:
    """A validation's scores in one line; only the losses of the compared images, if there are any."""
    figures: Mapping[str, float] = progress.scores
    if any(name in figures for name in LINE_SCORES):
        figures = {name: figures[name] for name in LINE_SCORES if name in figures}
    return "  ".join(f"{name} {value:.4f}" for name, value in figures.items())


class RunDisplay(AbstractContextManager):
    """Base class of displays: a context manager that prints nothing. Enter it before the run starts."""

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: "EncodeProgress | ParameterTable | Progress", *, notes: Sequence[str] = ()) -> None:
        """Show an event of a run.

        Args:
            notes: about the recipe, shown with the parameter table.
        """
        from refilm.data.encoding import EncodeProgress
        from refilm.training.engine.parameters import ParameterTable

        if isinstance(event, EncodeProgress):
            self.encoded(event)
        elif isinstance(event, ParameterTable):
            self.show_parameters(event)
            for note in notes:
                self.print_line(f"note: {note}")
        else:
            self.step(event)

    def encoded(self, progress: "EncodeProgress") -> None:
        """Show the progress of encoding."""

    def show_parameters(self, trained: "ParameterTable") -> None:
        """Show which parameters train."""

    def step(self, progress: "Progress") -> None:
        """Show a finished step."""

    def print_line(self, line: str) -> None:
        """Print a line."""


class LiveDisplay(RunDisplay):
    """A progress bar with figures below it; the parameter table and each validation stay above."""

    def __init__(self, console: Console):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.console, self.bars, self.pace = console, Bars(*columns, console=console), Pace()
        self.encoding = EncodingPace()
        self.task = self.bars.add_task("loading", total=None)
        self.display, self.open = Display(self.bars, console=console, refresh_per_second=4), ExitStack()

    def __enter__(self) -> Self:
        self.display.start()
        self.open.enter_context(listening(self.fetched))
        return self

    def __exit__(self, *error: object) -> None:
        self.open.close()
        self.display.stop()

    def fetched(self, done: int, total: int) -> None:
        """Show the progress of a download from the Hub, in bytes."""
        self.bars.update(self.task, description="fetching, MB", completed=done // 10**6, total=total // 10**6)

    def encoded(self, progress: "EncodeProgress") -> None:
        line = self.encoding.take(progress)
        self.bars.update(self.task, description=line, completed=progress.done, total=progress.total)

    def show_parameters(self, trained: "ParameterTable") -> None:
        self.console.print(table_of(trained))

    def step(self, progress: "Progress") -> None:
        figures = self.pace.take(progress)
        self.bars.update(self.task, description="training", completed=progress.step, total=progress.steps)
        row = Table.grid(padding=(0, 3))
        row.add_row(*(f"[dim]{name}[/] {value}" for name, value in figures.items() if value))
        self.display.update(Group(self.bars, row))
        if progress.scores:
            self.print_line(f"step {progress.step}: {scores(progress)}")
        if progress.words:
            self.print_line(f"  {progress.words}")

    def print_line(self, line: str) -> None:
        self.console.print(printable(line), highlight=False, markup=False, emoji=False)


class LineDisplay(RunDisplay):
    """Prints a line every few seconds, at each validation and at the end."""

    def __init__(self, write: Callable[[str], None] = print_line, every: float = EVERY):
        self.write, self.every, self.last, self.pace, self.encoding = write, every, -every, Pace(), EncodingPace()

    def encoded(self, progress: "EncodeProgress") -> None:
        self._now_and_then(self.encoding.take(progress), now=progress.done == progress.total)

    def show_parameters(self, trained: "ParameterTable") -> None:
        self.last = -self.every  # the first step is always printed, however recent the last line is
        for row in trained.rows:
            how = "trains" if row.trains else "is frozen"
            self.print_line(f"{row.name} {how}: {row.parameters:,} parameters, {size(row.bytes)}")

    def step(self, progress: "Progress") -> None:
        figures = self.pace.take(progress)
        line = f"step {progress.step} of {progress.steps}  loss {figures['loss']}  {figures['pace']}"
        line = f"{line}  {figures['left']} left  {figures['memory']}  {scores(progress)}".rstrip()
        self._now_and_then(line, now=bool(progress.scores) or progress.step == progress.steps)
        if progress.words:
            self.print_line(f"  {progress.words}")

    def print_line(self, line: str) -> None:
        self.write(line)

    def _now_and_then(self, line: str, *, now: bool) -> None:
        if now or time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            self.print_line(line)


def table_of(trained: "ParameterTable") -> Table:
    """A table of trained and frozen parameters, with their memory."""
    table = Table(box=None, header_style="dim")
    for name in ("", "", "parameters", "weights", "gradients", "optimizer"):
        table.add_column(name, justify="right" if name else "left")
    for row in trained.rows:
        amounts = (size(amount) if amount else "-" for amount in (row.weights, row.gradients, row.states))
        table.add_row(row.name, "trains" if row.trains else "frozen", f"{row.parameters:,}", *amounts)
    return table


def size(amount: float) -> str:
    """A number of bytes in a readable unit."""
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
