"""How commands show their work: a bar and a status on a terminal's standard error, nothing where nobody looks.

What a command has to say at the end goes to standard output through `say`; tables go through `screen`. A pipe gets
every line whole and in no colors, and whatever names of files hold is spelled out where it could steer a terminal.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from refilm.printable import printable
from refilm.settings import Settings

ENDLESS = 2**31  # columns


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks; Python has no stream where the descriptor was closed."""
    return stream is not None and stream.isatty()


terminal = Console(stderr=True, force_terminal=is_terminal(sys.stderr))  # whatever the environment forces


def screen() -> Console:
    """Standard output: as wide as the terminal, and for a pipe as wide as the longest line, without colors."""
    if is_terminal(sys.stdout):
        return Console()
    return Console(width=ENDLESS, force_terminal=False, no_color=True)


def told(settings: type[Settings], name: str) -> str:
    """The sentence under a setting, for its `--help`."""
    sentence = settings.model_fields[name].description
    assert sentence, f"{settings.__name__}.{name} has no sentence"
    return sentence


def say(*words: str) -> None:
    """Print a line for the user to keep."""
    typer.echo(printable(" ".join(words)))


def complain(line: str) -> None:
    """Print a line on standard error."""
    typer.echo(printable(line), err=True)


@contextmanager
def bar(name: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar, which is gone when all is done. Gives what moves it on by one and names what is being done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task(name, total=total)

        def advance(name: str) -> None:
            progress.update(task, description=name, advance=1)

        yield advance


@contextmanager
def working(on: str) -> Iterator[None]:
    """A spinner."""
    if not terminal.is_terminal:
        yield
        return
    from refilm.hub import listening

    with terminal.status(on) as status:

        def fetched(done: int, total: int) -> None:
            status.update(f"{on}: fetched {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        with listening(fetched):
            yield


def named(files: list[Path]) -> str:
    """One file by its name, many by the first and the last."""
    return str(files[0]) if len(files) == 1 else f"{files[0]} ... {files[-1].name}"


def clock(seconds: float) -> str:
    """A duration for people: 8.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
