"""`refilm train`: train a recipe and show its progress."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import Field

from refilm.cli.console import clock, print_line, screen
from refilm.cli.options import with_options
from refilm.cli.parsing import changes_of
from refilm.cli.run_display import RunDisplay, display_for
from refilm.cli.stopped_runs import StoppedEarly, exiting, ignore_signals, report_stopping
from refilm.cli.streams import require_printed
from refilm.cli.trials import report_dry_run, report_self_test
from refilm.settings import Settings
from refilm.training.engine.signals import Stopped, stoppable

if TYPE_CHECKING:
    from refilm.training.run import Event


class TrainOptions(Settings):
    """A run."""

    recipe: Annotated[Path, typer.Argument()]
    """Recipe, a TOML file; print one with refilm recipe, or see recipes/."""
    run: Path | None = None
    """Folder of the run: checkpoints, logs, sample videos and the complete recipe. Default: runs/RECIPE."""
    resume: bool = False
    """Resume from the newest checkpoint of the run."""
    resume_from: Path | None = None
    """Resume from this checkpoint; later ones of the run are renamed to aside-*."""
    changes: Annotated[tuple[str, ...], typer.Option("--set", metavar="NAME=VALUE")] = ()
    """Override a setting of the recipe, for instance loop.steps=10; can be repeated."""
    allow_changes: Annotated[tuple[str, ...], typer.Option("--allow-change", metavar="NAME")] = ()
    """A setting, or a table of settings, that may differ from the resumed run; can be repeated."""
    log_with: Literal["trackio", "wandb"] | None = None
    """Also log all metrics to this tracker. TensorBoard logs are always written to the run's folder."""
    overfit: int | None = Field(default=None, ge=2)
    """Self-test: only check that the recipe can learn this many clips. If not, print the likely cause and exit with
    code 1."""
    dry_run: bool = False
    """Only print steps, samples and memory; write nothing."""

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.run or Path("runs") / self.recipe.stem

    @property
    def words(self) -> list[str]:
        """The arguments of the command that resumes the run, without --resume."""
        words = ["train", str(self.recipe), "--run", str(self.folder)]
        words += [word for change in self.changes for word in ("--set", change)]
        return words + ([] if self.log_with is None else ["--log-with", self.log_with])


@with_options(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train a recipe.

    Ctrl-C, SIGTERM or SIGHUP saves the run and stops. A run continued with --resume gives exactly the numbers of an
    uninterrupted one.
    """
    changes = changes_of(options.changes)
    how: Any = {"resume": options.resume_from or options.resume, "allow_changes": options.allow_changes}
    if options.dry_run:
        report_dry_run(options.recipe, options.folder, changes=changes, **how)
        require_printed()
        return
    started, first = time.perf_counter(), os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    display = display_for(screen(), first=first)
    if options.overfit is not None:
        report_self_test(options.recipe, options.overfit, changes, display)
        return
    stopping = stoppable(report_stopping if first else lambda: None)
    with exiting(options.words, options.folder, first=first), display, stopping as stop:
        from refilm.recipes import read_recipe
        from refilm.training import run as runs

        recipe = read_recipe(options.recipe, changes)
        events = runs.train(recipe, options.folder, log_with=options.log_with, stop=stop, **how)
        result = _followed(events, display, notes=() if how["resume"] else recipe.notes())
    if first:
        print_line(f"{result}: trained in {clock(time.perf_counter() - started)}; the run is in {options.folder}")


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
