"""How a training run leaves before its end: what is kept, the command that goes on, and an exit code that tells why.

75 after SIGTERM, SIGHUP or Ctrl-C, when the last step is saved (EX_TEMPFAIL of sysexits.h: "try again later"); 130
when a second Ctrl-C left no time for that; 2, as for all errors, when the loss is not finite; 3 when the run ended
itself, because as many validations as the recipe allows found that the image is not being used.
"""

import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from refilm.cli.showing import complain
from refilm.training.engine.signals import Stopped

ENDED = 3
SAVED = 75
AT_ONCE = 130


class Left(Exception):  # noqa: N818  # it is no error
    """A run stopped before its last step."""

    def __init__(self, stopped: Stopped):
        self.stopped = stopped
        super().__init__(str(stopped))


def stay() -> None:
    """Let this process come to its own end: torchrun sends SIGTERM to the others as soon as one has left."""
    if not _alone():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def leaving(words: list[str], folder: Path, *, first: bool) -> Iterator[None]:
    """Around a run.

    Args:
        words: of the command that started it, without what resumes.
        folder: of the run.
        first: whether this process speaks for all.
    """
    why = "stopped"
    try:
        yield
    except Left as left:
        code, why = (SAVED, why) if left.stopped.signal else (ENDED, left.stopped.reason)
    except KeyboardInterrupt:
        code = AT_ONCE
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; {_kept(words, folder)}") from error
    else:
        return
    if first:
        complain(f"{why}; {_kept(words, folder)}")
    raise typer.Exit(code)


def report_stopping() -> None:
    """Tell that a signal was heard; from its handler, where a print could come upon another one.

    Who read it may be gone by the same signal: `refilm train r.toml 2>&1 | tee log` and Ctrl-C.
    """
    with suppress(OSError):
        os.write(2, b"stopping once what is done is saved; Ctrl-C again stops at once\n")


def _kept(words: list[str], folder: Path) -> str:
    from refilm.training.checkpoint.checkpoints import checkpoints, step_of

    kept = checkpoints(folder)
    if not kept:
        return f"no step is saved yet, start anew with: {_command(words)}"
    return f"step {step_of(kept[-1])} is kept, go on with: {_command(words, '--resume')}"


def _command(words: list[str], *more: str) -> str:
    """A command to type; where a launcher started several processes, it alone knows its own part."""
    if _alone():
        return shlex.join(["refilm", *words, *more])
    return " and ".join(["the same command", *more])


def _alone() -> bool:
    return os.environ.get("WORLD_SIZE", "1") == "1"  # torchrun says it
