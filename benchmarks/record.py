"""Writes the result of a benchmark as JSON with machine, date and commit, and never overwrites one unasked.

Without `--out` a result is written to its own file in `benchmarks/results`; if that exists, the script exits with an
error before it measures anything. With `--out FILE` it is written to FILE, which may exist. Does not know what is
measured.
"""

import argparse
import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refilm.files import write_json
from refilm.machine import machine

RESULTS = Path(__file__).parent / "results"


def add_out(parser: argparse.ArgumentParser, default: Path, flag: str = "--out") -> None:
    """Add the option for the file of a result."""
    parser.add_argument(
        flag, type=Path, help=f"File to write; overwritten if it exists. Default: {default.name}, which must not exist."
    )


def target(parser: argparse.ArgumentParser, given: Path | None, default: Path, flag: str = "--out") -> Path:
    """The file to write; exits before anything is measured if it exists and was not given explicitly."""
    if given is None and default.exists():
        parser.error(f"{default} exists; use {flag} FILE to write another file, or {flag} {default} to overwrite it")
    return given or default


def write(path: Path, facts: Mapping[str, Any]) -> None:
    """Write and print a result, with the machine, the date and the commit it was measured at."""
    print(json.dumps(save(path, facts), indent=2))


def save(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write a result without printing it, for one that is written again as more is measured; returns it."""
    result = {"machine": machine(), "date": datetime.now(UTC).date().isoformat(), "commit": commit(), **facts}
    write_json(path, result)
    return result


def commit() -> str | None:
    """The checked-out commit, with `-dirty` if files differ from it; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    done = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
