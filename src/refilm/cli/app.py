"""The command line application: lists all commands, prints user errors in one line and silences libraries.

Imports nothing slow; commands import torch and other libraries when they run.
"""

import logging
import os
import sys
import traceback
import warnings
from typing import Annotated, Any, ClassVar

import typer

from refilm.cli.allocation import keep_freed_memory
from refilm.cli.console import LogLines, is_terminal, print_error
from refilm.cli.lazy import LazyGroup
from refilm.cli.stopping import Terminated, terminable
from refilm.cli.streams import install_safe_streams
from refilm.cli.threads import let_waiting_threads_sleep
from refilm.errors import UserError, is_out_of_memory
from refilm.files import system_errors
from refilm.names import unknown_option

QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class DataCommands(LazyGroup):
    """The commands of `refilm data`."""

    places: ClassVar = {
        "critters": "refilm.cli.data:critters",
        "import": "refilm.cli.data:import_",
        "check": "refilm.cli.data:check",
        "prepare": "refilm.cli.prepare:prepare",
        "encode": "refilm.cli.encode:encode",
        "verify": "refilm.cli.encode:verify",
    }


class SubjectCommands(LazyGroup):
    """The commands of `refilm subject`."""

    places: ClassVar = {
        "make": "refilm.cli.subject_files:make",
        "show": "refilm.cli.subject_files:show",
    }


class PreviewCommands(LazyGroup):
    """The commands of `refilm preview`."""

    places: ClassVar = {"fit": "refilm.cli.preview:fit"}


class EvaluateCommands(LazyGroup):
    """The commands of `refilm evaluate`. What is no command is a suite: `refilm evaluate critters` runs it."""

    places: ClassVar = {
        "run": "refilm.cli.evaluate:run",
        "compare": "refilm.cli.evaluate:compare",
    }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else "--help"
        return super().parse_args(ctx, args if first in (*self.commands, "--help") else ["run", *args])


class Commands(LazyGroup):
    """Prints an error that the user can fix in one line, with exit code 2; `--debug` shows its traceback.

    Any other exception is a bug and keeps its traceback; Python then exits with code 1.
    """

    places: ClassVar = {
        "generate": "refilm.cli.generate:generate",
        "rerun": "refilm.cli.rerun:rerun",
        "draft": "refilm.cli.draft:draft",
        "sweep": "refilm.cli.sweep:sweep",
        "finish": "refilm.cli.rerun:finish",
        "batch": "refilm.cli.batch:batch",
        "calibrate": "refilm.cli.calibrate:calibrate",
        "serve": "refilm.cli.serve:serve",
        "train": "refilm.cli.train:train",
        "recipe": "refilm.cli.recipe:recipe",
        "demo": "refilm.cli.demo:demo",
        "convert": "refilm.cli.weights:convert",
        "info": "refilm.cli.weights:info",
        "push": "refilm.cli.push:push",
        "doctor": "refilm.cli.doctor:doctor",
    }

    def invoke(self, ctx: Any) -> Any:
        try:
            with terminable(), system_errors():
                return super().invoke(ctx)
        except UserError as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            print_error(f"error: {' '.join(str(error).split())}")
            raise typer.Exit(2) from error
        except KeyboardInterrupt:
            print_error("stopped")
            raise typer.Exit(130) from None
        except Terminated as signaled:
            print_error("stopped")
            raise typer.Exit(signaled.code) from None
        except Exception as error:
            if is_out_of_memory(error):
                if ctx.params["debug"]:
                    traceback.print_exc()
                print_error("error: not enough memory; choose a smaller size, fewer frames or a smaller batch")
                raise typer.Exit(2) from error
            _name_option(error)
            raise


def _name_option(error: Exception) -> None:
    """Add refilm's name of the option to the error about an unknown one. Typer does not export its error class."""
    answer = unknown_option(getattr(error, "option_name", ""))
    if answer is not None:
        error.message = f"{getattr(error, 'message', error)}; {answer}"  # pyright: ignore[reportAttributeAccessIssue]
        error.possibilities = None  # pyright: ignore[reportAttributeAccessIssue]


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data = typer.Typer(cls=DataCommands, no_args_is_help=True, help="Create, import, check and encode data sets.")
app.add_typer(data, name="data")
subject = typer.Typer(cls=SubjectCommands, no_args_is_help=True, help="Make and show subject files.")
app.add_typer(subject, name="subject")
preview = typer.Typer(cls=PreviewCommands, no_args_is_help=True, help="Fit previews of latents.")
app.add_typer(preview, name="preview")
EVALUATE = "Score videos, and compare results. `refilm evaluate SUITE` is short for `refilm evaluate run SUITE`."
evaluate = typer.Typer(cls=EvaluateCommands, no_args_is_help=True, help=EVALUATE)
app.add_typer(evaluate, name="evaluate")


@data.callback()
def make_data() -> None:
    """Create, import, check and encode data sets."""


@subject.callback()
def make_subject() -> None:
    """Make and show subject files."""


@preview.callback()
def make_preview() -> None:
    """Fit previews of latents."""


@evaluate.callback(help=EVALUATE)
def make_evaluate() -> None:
    """Score videos, and compare results."""


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        typer.echo(importlib.metadata.version("refilm"))
        raise typer.Exit


@app.callback()
def refilm(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Put the subject of an image into a video that follows a prompt."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def main() -> None:
    """The entry point of the command `refilm`."""
    install_safe_streams()
    if not all(map(is_terminal, (sys.stdout, sys.stderr))):
        app.rich_markup_mode = None  # usage errors and help are plain text in a pipe
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # warnings of libraries are meant for programmers
        for name in ("torchao", "torch.utils._pytree"):  # transformers imports torchao where it is installed
            logging.getLogger(name).setLevel(logging.CRITICAL)
    LogLines.install()
    keep_freed_memory()
    let_waiting_threads_sleep()
    try:
        app()
    except KeyboardInterrupt:  # while a command is imported
        print_error("stopped")
        sys.exit(130)
    except Exception as error:
        error.add_note("This is a bug in refilm. Please report it with the lines above.")
        raise
