"""Console output of commands: progress bars and spinners on a terminal's standard error, none without a terminal.

Results go to standard output through `print_line`; tables go through `screen`. In a pipe, lines are neither wrapped nor
colored. Control characters, for instance in file names, are escaped, and rich does not read text as markup or emoji.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

import typer
from rich.console import Console
from rich.text import Text

from refilm.printable import printable

if TYPE_CHECKING:
    import numpy as np

ENDLESS = 2**31  # columns


class Advance(Protocol):
    """Advances a progress bar by one, with its new description and image."""

    def __call__(self, name: str, image: "np.ndarray | None" = None, /) -> None: ...


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal; the stream is None if its descriptor was closed."""
    return stream is not None and stream.isatty()


terminal = Console(stderr=True, force_terminal=is_terminal(sys.stderr))  # overrides FORCE_COLOR and the like


def screen() -> Console:
    """A console for standard output: as wide as the terminal, or without wrapping and colors in a pipe."""
    if is_terminal(sys.stdout):
        return Console()
    return Console(width=ENDLESS, force_terminal=False, no_color=True)


def print_line(*words: str) -> None:
    """Print a line on standard output."""
    typer.echo(printable(" ".join(words)))


def print_error(line: str) -> None:
    """Print a line on standard error."""
    typer.echo(printable(line), err=True)


def plain(text: str) -> Text:
    """A text as rich shows it without reading it: `[red]` and `:smile:` are parts of names."""
    return Text(printable(text))


class LogLines(logging.Handler):
    """Writes log records as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        print_error(self.format(record))

    @classmethod
    def install(cls) -> None:
        """Write refilm's warnings; once, however many commands a process runs."""
        logger = logging.getLogger("refilm")
        if not any(isinstance(handler, cls) for handler in logger.handlers):
            logger.addHandler(cls(logging.WARNING))


@contextmanager
def bar(name: str, total: int) -> Iterator["Advance"]:
    """A progress bar that disappears at the end. Yields a function that advances it by one, and sets its description
    and the image above it, (H, W, 3) uint8."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    from refilm.cli.progress_image import ImageProgress, half_blocks

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ImageProgress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task(printable(name), total=total)

        def advance(name: str, image: "np.ndarray | None" = None) -> None:
            if image is not None:
                progress.image = half_blocks(image)
            progress.update(task, description=printable(name), advance=1)

        yield advance


@contextmanager
def working(on: str) -> Iterator[None]:
    """A spinner; also shows the progress of downloads from the Hub."""
    if not terminal.is_terminal:
        yield
        return
    from refilm.hub import listening

    with terminal.status(plain(on)) as status:

        def fetched(done: int, total: int) -> None:
            status.update(plain(f"{on}: fetched {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"))

        with listening(fetched):
            yield


def counted(number: int, what: str) -> str:
    """A number of things: 1 view, 2 views."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def named(files: list[Path]) -> str:
    """The path of one file, or the first path and the last name of several."""
    return str(files[0]) if len(files) == 1 else f"{files[0]} ... {files[-1].name}"


def clock(seconds: float) -> str:
    """A readable duration: 8.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
