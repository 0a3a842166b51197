"""`refilm doctor`: check the installation and the machine, and print how to fix what is wrong."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refilm.cli.console import counted, plain, print_line, screen, working
from refilm.cli.options import Device, with_options

if TYPE_CHECKING:
    from refilm.doctor import Check

COLORS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


class DoctorOptions(Device):
    """What is checked, and how it is printed."""

    folder: Path = Path()
    """Folder in which results will be written; its disk, locks and SQLite are checked."""
    generate: Annotated[bool, typer.Option("--generate/--no-generate")] = True
    """Generate a short video with the pocket model at the end."""
    as_json: Annotated[bool, typer.Option("--json")] = False
    """Print the results as JSON."""


@with_options(DoctorOptions)
def doctor(options: DoctorOptions) -> None:
    """Check the installation and the machine, and which base models fit here; print how to fix what is wrong."""
    with working("checking"):
        from refilm.doctor import examined, sections

        checks = list(examined(sections(options.folder, device=options.device, generate=options.generate)))
    if options.as_json:
        print_line(json.dumps({"checks": [asdict(check) for check in checks]}))
    else:
        _print(checks)
    if any(check.status == "problem" for check in checks):
        raise typer.Exit(1)


def _print(checks: "Iterable[Check]") -> None:
    """A table of all checks, and the fixes below it."""
    from rich.table import Table

    checks = list(checks)
    table = Table(box=None, pad_edge=False)
    for title in ("check", "status", "finding"):
        table.add_column(title, overflow="fold")
    for check in checks:
        table.add_row(plain(check.name), f"[{COLORS[check.status]}]{check.status}[/]", plain(check.finding))
    screen().print(table)
    for check in checks:
        if check.fix:
            print_line(f"{check.status}: {check.name}: {check.fix}")
    warnings, problems = (sum(check.status == status for check in checks) for status in ("warning", "problem"))
    print_line(f"{counted(len(checks), 'check')}, {counted(warnings, 'warning')}, {counted(problems, 'problem')}")
