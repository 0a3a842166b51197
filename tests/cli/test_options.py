"""A command's options are the settings of its classes: names, ranges, defaults and sentences."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from refilm.cli.options import chosen, given, with_options
from refilm.errors import UserError
from refilm.settings import Settings


class Run(Settings):
    """A command's own options."""

    name: Annotated[str, typer.Argument()]
    """What it is called."""
    out: Annotated[Path, typer.Option("--out", "-o")]
    """Where it is written."""
    changes: Annotated[tuple[str, ...], typer.Option("--set", metavar="NAME=VALUE")] = ()
    """What is changed."""
    dry_run: bool = False
    """Write nothing."""


class Sampling(Settings):
    """Settings of a library."""

    steps: int = Field(ge=1, le=999)
    """Number of steps."""
    sampler: Literal["ddim", "sat"] = "ddim"
    """Sampler."""
    seed: int = Field(default=0, ge=0)
    """Not an option."""


def called(*words: str) -> tuple[Run, Settings]:
    """The objects that a command with these options receives."""
    received = []
    app = typer.Typer()

    @app.command()
    @with_options(Run, given(Sampling, "steps", "sampler"))
    def command(run: Run, sampling: Settings) -> None:
        """Do it."""
        received.extend((run, sampling))

    result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return received[0] if received else result.output, *received[1:]


def test_a_command_receives_validated_settings():
    run, sampling = called("fox", "-o", "a.mp4", "--set", "a=1", "--set", "b=2", "--dry-run", "--steps", "9")
    assert run == Run(name="fox", out=Path("a.mp4"), changes=("a=1", "b=2"), dry_run=True)
    assert chosen(sampling) == {"steps": 9}


def test_settings_that_are_not_given_have_their_defaults():
    run, sampling = called("fox", "--out", "a.mp4")
    assert run == Run(name="fox", out=Path("a.mp4"))
    assert chosen(sampling) == {}


def test_an_invalid_value_names_the_option():
    with pytest.raises(UserError, match=r"^--steps: Input should be less than or equal to 999 \(received 1000\)$"):
        called("fox", "-o", "a.mp4", "--steps", "1000")


def test_help_has_names_ranges_defaults_and_sentences(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (text,) = called("--help")
    for line in (
        "What it is called.",
        "Where it is written.",
        "NAME=VALUE",
        "Number of steps. (1 to 999)",
        "the base model's",
        "ddim|sat",
        "(ddim)",
        "Write nothing.",
    ):
        assert line in text
    assert "--no-dry-run" not in text
    assert "--seed" not in text


@pytest.mark.parametrize("command", ["generate", "demo", "data check", "data prepare", "data encode", "data import"])
def test_help_imports_no_torch(command):
    code = f"""
import sys
from refilm.cli.app import app
try:
    app({[*command.split(), "--help"]!r})
finally:
    assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=600)
