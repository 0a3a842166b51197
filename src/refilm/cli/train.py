"""`refilm train`: a recipe is run, and its course is shown."""

import os
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refilm.cli.run_display import Course, course_of
from refilm.cli.showing import clock, say, screen
from refilm.cli.stopped_runs import Left, leaving, report_stopping, stay
from refilm.cli.streams import require_printed
from refilm.cli.trials import report_dry_run, report_self_test
from refilm.training.engine.signals import Stopped, stoppable

if TYPE_CHECKING:
    from refilm.training.run import Event


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file; see recipes/.", show_default=False)],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run: its checkpoints, and the recipe as understood.", show_default="runs/RECIPE"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run.")] = False,
    resume_from: Annotated[
        Path | None,
        typer.Option(help="Go on from this checkpoint; later ones of the run are set aside.", show_default=False),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Another value for a setting of the recipe, for instance loop.steps=10; may be repeated.",
            show_default=False,
        ),
    ] = None,
    allow_changes: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-change",
            metavar="NAME",
            help="A setting, or a table of them, that may be another than in the run that is resumed; may be repeated.",
            show_default=False,
        ),
    ] = None,
    log_with: Annotated[
        Literal["trackio", "wandb"] | None,
        typer.Option(help="A tracker that gets all numbers, beside TensorBoard's logs in the run.", show_default=False),
    ] = None,
    overfit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="Only try whether the recipe can learn N clips, or what is wrong; exit code 1 then.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell steps, samples and memory; nothing is written.")
    ] = False,
) -> None:
    """Train what a recipe says. Ctrl-C, SIGTERM or SIGHUP saves and stops; --resume goes on as if nothing had been."""
    folder, settings = run or Path("runs") / recipe.stem, changes_of(changes or [])
    first = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    if dry_run:
        report_dry_run(
            recipe, folder, changes=settings, resume=resume_from or resume, allow_changes=allow_changes or []
        )
        require_printed()
        return
    started = time.perf_counter()
    course = course_of(screen(), first=first)
    if overfit is not None:
        report_self_test(recipe, overfit, settings, course)
        return
    words = ["train", str(recipe), "--run", str(folder)]
    words += [word for change in changes or [] for word in ("--set", change)]
    words += [] if log_with is None else ["--log-with", log_with]
    with leaving(words, folder, first=first), course, stoppable(report_stopping if first else lambda: None) as stop:
        from refilm.recipes import read_recipe
        from refilm.training import run as runs

        made = read_recipe(recipe, settings)
        events = runs.train(
            made,
            folder,
            resume=resume_from or resume,
            allow_changes=allow_changes or (),
            log_with=log_with,
            stop=stop,
        )
        result = _followed(events, course, notes=() if resume or resume_from else made.notes())
    if first:
        say(f"{result}: trained, {clock(time.perf_counter() - started)}; the run is in {folder}")


def changes_of(texts: list[str]) -> dict[str, Any]:
    """Settings from "name=value". A value is TOML, or else a plain word.

    Raises:
        ValueError: no name, or no "=".
    """
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not all(name.split(".")):
            raise ValueError(f"--set {text!r}: give a setting's dotted name and its value, for instance loop.steps=10")
        changes[name.strip()] = _value(value)
    return changes


def _value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def _followed(events: "Iterator[Event]", course: Course, *, notes: tuple[str, ...]) -> Path | None:
    """Show a run's events to its end; where the result is, if this process delivered it.

    Raises:
        Left: the run stopped before its last step.
    """
    from refilm.training.run import Finished

    result = stopped = None
    for event in events:
        if isinstance(event, Stopped):
            stopped = event
            stay()
        elif isinstance(event, Finished):
            result = event.result
        else:
            course.show(event, notes=notes)
    if stopped:
        raise Left(stopped)
    return result
