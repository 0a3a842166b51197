"""`refilm train`: train a recipe and show its progress."""

import os
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refilm.cli.console import clock, print_line, screen
from refilm.cli.run_display import RunDisplay, display_for
from refilm.cli.stopped_runs import StoppedEarly, exiting, ignore_signals, report_stopping
from refilm.cli.streams import require_printed
from refilm.cli.trials import report_dry_run, report_self_test
from refilm.errors import UserError
from refilm.training.engine.signals import Stopped, stoppable

if TYPE_CHECKING:
    from refilm.training.run import Event


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a TOML file; for examples see recipes/.", show_default=False)],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run: checkpoints, logs, sample videos and the complete recipe.",
            show_default="runs/RECIPE",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the newest checkpoint of the run.")] = False,
    resume_from: Annotated[
        Path | None,
        typer.Option(
            help="Resume from this checkpoint; later ones of the run are renamed to aside-*.", show_default=False
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Override a setting of the recipe, for instance loop.steps=10; can be repeated.",
            show_default=False,
        ),
    ] = None,
    allow_changes: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-change",
            metavar="NAME",
            help="A setting, or a table of settings, that may differ from the resumed run; can be repeated.",
            show_default=False,
        ),
    ] = None,
    log_with: Annotated[
        Literal["trackio", "wandb"] | None,
        typer.Option(
            help="Also log all metrics to this tracker. TensorBoard logs are always written to the run's folder.",
            show_default=False,
        ),
    ] = None,
    overfit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="Self-test: only check that the recipe can learn N clips. If not, print the likely cause and exit "
            "with code 1.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print steps, samples and memory; write nothing.")
    ] = False,
) -> None:
    """Train a recipe.

    Ctrl-C, SIGTERM or SIGHUP saves the run and stops. A run continued with --resume gives exactly the numbers of an
    uninterrupted one.
    """
    folder, settings = run or Path("runs") / recipe.stem, changes_of(changes or [])
    first = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    if dry_run:
        report_dry_run(
            recipe, folder, changes=settings, resume=resume_from or resume, allow_changes=allow_changes or []
        )
        require_printed()
        return
    started = time.perf_counter()
    display = display_for(screen(), first=first)
    if overfit is not None:
        report_self_test(recipe, overfit, settings, display)
        return
    words = ["train", str(recipe), "--run", str(folder)]
    words += [word for change in changes or [] for word in ("--set", change)]
    words += [] if log_with is None else ["--log-with", log_with]
    with exiting(words, folder, first=first), display, stoppable(report_stopping if first else lambda: None) as stop:
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
        result = _followed(events, display, notes=() if resume or resume_from else made.notes())
    if first:
        print_line(f"{result}: trained in {clock(time.perf_counter() - started)}; the run is in {folder}")


def changes_of(texts: list[str]) -> dict[str, Any]:
    """Settings from "name=value". The value is parsed as TOML, or taken as a string if it is not TOML.

    Raises:
        UserError: the name or the "=" is missing.
    """
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not all(name.split(".")):
            raise UserError(f"--set {text!r}: give a setting's dotted name and its value, for instance loop.steps=10")
        changes[name.strip()] = _value(value)
    return changes


def _value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text


def _followed(events: "Iterator[Event]", display: RunDisplay, *, notes: tuple[str, ...]) -> Path | None:
    """Show all events of a run. Returns the path of the result if this process saved it.

    Raises:
        StoppedEarly: the run stopped before its last step.
    """
    from refilm.training.run import Finished

    result = stopped = None
    for event in events:
        if isinstance(event, Stopped):
            stopped = event
            ignore_signals()
        elif isinstance(event, Finished):
            result = event.result
        else:
            display.show(event, notes=notes)
    if stopped:
        raise StoppedEarly(stopped)
    return result
