"""How every benchmark keeps its result: JSON with machine, date and commit, which a trial never writes over.

Without `--out` a result goes to its own file in `benchmarks/results`, unless there is one already; then nothing is
measured and the script says so. With `--out FILE` it goes there, whatever lies there. Knows nothing of what is
measured.
"""

import argparse
import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refilm.evaluation import machine
from refilm.files import write_json

RESULTS = Path(__file__).parent / "results"


def add_out(parser: argparse.ArgumentParser, default: Path, flag: str = "--out") -> None:
    """Add the option that says where a result goes."""
    parser.add_argument(flag, type=Path, help=f"overwritten; default: {default.name}, which must not exist yet")


def target(parser: argparse.ArgumentParser, given: Path | None, default: Path, flag: str = "--out") -> Path:
    """Where a result goes; ends the script, before it measures anything, where nobody asked to overwrite one."""
    if given is None and default.exists():
        parser.error(f"{default} exists; {flag} FILE writes to another file, {flag} {default} overwrites it")
    return given or default


def write(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a result, with the machine, the date and the commit it was taken at, and print it."""
    told = {"machine": machine(), "date": datetime.now(UTC).date().isoformat(), "commit": commit(), **facts}
    write_json(path, told)
    print(json.dumps(told, indent=2))


def commit() -> str | None:
    """The commit that is checked out, with `-dirty` where files differ from it; None outside of a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    done = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
