"""The course of a training run, on a terminal as a display that lives, elsewhere as a plain line now and then."""

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

from refilm.cli.encoding import EncodingPace
from refilm.cli.showing import clock, say
from refilm.hub import listening
from refilm.printable import printable
from refilm.training.monitor.memory import most_memory

if TYPE_CHECKING:
    from refilm.data.encoding import EncodeProgress
    from refilm.training.engine.loop import Progress
    from refilm.training.engine.parameters import ParameterTable

WINDOW = 50  # steps over which loss and pace are averaged
EVERY = 10.0  # seconds between plain lines
TOLD = ("right", "wrong", "none")  # the scores that a line has room for; all are in the log


def course_of(console: Console, *, first: bool) -> "Course":
    """What suits the place: only the first of several processes tells, and only a terminal shows what lives."""
    if not first:
        return Course()
    return Live(console) if console.is_terminal else Lines()


class Pace:
    """The last steps' mean loss and duration, and the last validation's gap."""

    def __init__(self) -> None:
        self.recent: deque[Progress] = deque(maxlen=WINDOW)
        self.gap = ""

    def take(self, progress: "Progress") -> dict[str, str]:
        """What there is to tell after a step, by name."""
        self.recent.append(progress)
        if "gap" in progress.scores:
            self.gap = f"{progress.scores['gap']:.4f} ± {progress.scores['gap_error']:.4f}"
        loss = sum(step.loss for step in self.recent) / len(self.recent)
        seconds = sum(step.seconds for step in self.recent) / len(self.recent)
        samples = sum(step.samples for step in self.recent) / len(self.recent)
        told = {"loss": f"{loss:.4f}", "gap": self.gap}
        told["pace"] = f"{samples / seconds:.1f} clips/s" if samples and seconds else f"{seconds:.2f} s/step"
        return {**told, "left": clock(seconds * (progress.steps - progress.step)), "memory": f"{most_memory():.1f} GiB"}


def scores(progress: "Progress") -> str:
    """A validation's scores in a line; losses under the images that are compared, where there are such."""
    told: Mapping[str, float] = progress.scores
    if any(name in told for name in TOLD):
        told = {name: told[name] for name in TOLD if name in told}
    return "  ".join(f"{name} {value:.4f}" for name, value in told.items())


class Course(AbstractContextManager):
    """Shows nothing; a context that is entered before the run begins."""

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: "EncodeProgress | ParameterTable | Progress", *, notes: Sequence[str] = ()) -> None:
        """Show an event of a run.

        Args:
            notes: about the recipe, shown with what trains.
        """
        from refilm.data.encoding import EncodeProgress
        from refilm.training.engine.parameters import ParameterTable

        if isinstance(event, EncodeProgress):
            self.encoded(event)
        elif isinstance(event, ParameterTable):
            self.begin(event)
            for note in notes:
                self.tell(f"note: {note}")
        else:
            self.step(event)

    def encoded(self, progress: "EncodeProgress") -> None:
        """Some captions, references or clips are encoded."""

    def begin(self, trained: "ParameterTable") -> None:
        """It is known what trains."""

    def step(self, progress: "Progress") -> None:
        """A step is done."""

    def tell(self, line: str) -> None:
        """Something worth a line."""


class Live(Course):
    """A bar with the figures below it; what trains, and each validation, is left above."""

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
        """So many of all bytes of a model have been fetched from the Hub."""
        self.bars.update(self.task, description="fetching, MB", completed=done // 10**6, total=total // 10**6)

    def encoded(self, progress: "EncodeProgress") -> None:
        line = self.encoding.take(progress)
        self.bars.update(self.task, description=line, completed=progress.done, total=progress.total)

    def begin(self, trained: "ParameterTable") -> None:
        self.console.print(table_of(trained))

    def step(self, progress: "Progress") -> None:
        told = self.pace.take(progress)
        self.bars.update(self.task, description="training", completed=progress.step, total=progress.steps)
        figures = Table.grid(padding=(0, 3))
        figures.add_row(*(f"[dim]{name}[/] {value}" for name, value in told.items() if value))
        self.display.update(Group(self.bars, figures))
        if progress.scores:
            self.tell(f"step {progress.step}: {scores(progress)}")
        if progress.words:
            self.tell(f"  {progress.words}")

    def tell(self, line: str) -> None:
        self.console.print(printable(line), highlight=False, markup=False, emoji=False)


class Lines(Course):
    """A line every few seconds, at each validation and at the end, printed by `say`."""

    def __init__(self, say: Callable[[str], None] = say, every: float = EVERY):
        self.say, self.every, self.last, self.pace, self.encoding = say, every, -every, Pace(), EncodingPace()

    def encoded(self, progress: "EncodeProgress") -> None:
        self._now_and_then(self.encoding.take(progress), now=progress.done == progress.total)

    def begin(self, trained: "ParameterTable") -> None:
        self.last = -self.every  # so that the first step is told, however late the last line was
        for row in trained.rows:
            how = "trains" if row.trains else "is frozen"
            self.tell(f"{row.name} {how}: {row.parameters:,} parameters, {size(row.bytes)}")

    def step(self, progress: "Progress") -> None:
        told = self.pace.take(progress)
        line = f"step {progress.step} of {progress.steps}  loss {told['loss']}  {told['pace']}  {told['left']} left"
        line = f"{line}  {told['memory']}  {scores(progress)}".rstrip()
        self._now_and_then(line, now=bool(progress.scores) or progress.step == progress.steps)
        if progress.words:
            self.tell(f"  {progress.words}")

    def tell(self, line: str) -> None:
        self.say(line)

    def _now_and_then(self, line: str, *, now: bool) -> None:
        if now or time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            self.tell(line)


def table_of(trained: "ParameterTable") -> Table:
    """What trains and what is frozen, with its memory."""
    table = Table(box=None, header_style="dim")
    for name in ("", "", "parameters", "weights", "gradients", "optimizer"):
        table.add_column(name, justify="right" if name else "left")
    for row in trained.rows:
        amounts = (size(amount) if amount else "-" for amount in (row.weights, row.gradients, row.states))
        table.add_row(row.name, "trains" if row.trains else "frozen", f"{row.parameters:,}", *amounts)
    return table


def size(amount: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
