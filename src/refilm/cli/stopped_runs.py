"""What a training run prints when it stops early: the saved step, the command that continues the run, an exit code.

Exit code 75: SIGTERM, SIGHUP or Ctrl-C, the last step is saved (EX_TEMPFAIL of sysexits.h: "try again later"). 130: a
second Ctrl-C, the step is lost. 2, as for all errors: the loss is not finite. 3: the run ended itself because
`stop_if_unused` validations in a row found that the reference is not used.
"""

import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from refilm.cli.console import print_error
from refilm.errors import NotFiniteError
from refilm.training.engine.signals import Stopped

ENDED = 3
SAVED = 75
AT_ONCE = 130


class StoppedEarly(Exception):  # noqa: N818  # not an error
    """A run stopped before its last step."""

    def __init__(self, stopped: Stopped):
        self.stopped = stopped
        super().__init__(str(stopped))


def ignore_signals() -> None:
    """Ignore signals until this process ends: torchrun sends SIGTERM to the others as soon as one process exits."""
    if not _alone():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def exiting(words: list[str], folder: Path, *, first: bool) -> Iterator[None]:
    """Within the context, a run that stops early prints how to continue it and exits with the code for the reason.

    Args:
        words: arguments of the command that started the run, without --resume.
        folder: the run's folder.
        first: whether this process prints for all processes.
    """
    why = "stopped"
    try:
        yield
    except StoppedEarly as left:
        code, why = (SAVED, why) if left.stopped.signal else (ENDED, left.stopped.reason)
    except KeyboardInterrupt:
        code = AT_ONCE
    except NotFiniteError as error:
        raise NotFiniteError(f"{error}; {_kept(words, folder)}") from error
    else:
        return
    if first:
        print_error(f"{why}; {_kept(words, folder)}")
    raise typer.Exit(code)


def report_stopping() -> None:
    """Print that the run is stopping. Called from a signal handler, where `print` is not reentrant.

    The same signal may have ended the reader: `refilm train r.toml 2>&1 | tee log` and Ctrl-C.
    """
    with suppress(OSError):
        os.write(2, b"stopping after this step is saved; press Ctrl-C again to stop at once\n")


def _kept(words: list[str], folder: Path) -> str:
    from refilm.training.checkpoint.checkpoints import checkpoints, step_of

    kept = checkpoints(folder)
    if not kept:
        return f"no step is saved yet; start again with: {_command(words)}"
    return f"step {step_of(kept[-1])} is saved; continue with: {_command(words, '--resume')}"


def _command(words: list[str], *more: str) -> str:
    """A command to type; under a launcher only "the same command", because the launcher's arguments are unknown."""
    if _alone():
        return shlex.join(["refilm", *words, *more])
    return " and ".join(["the same command", *more])


def _alone() -> bool:
    return os.environ.get("WORLD_SIZE", "1") == "1"  # set by torchrun
