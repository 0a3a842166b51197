"""`refilm batch`: generate the videos of a list, alone or together with other processes."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from pydantic import Field

from refilm.cli.asking import Model
from refilm.cli.console import clock, plain, print_error, print_line, screen, working
from refilm.cli.making import Keeping
from refilm.cli.options import with_options
from refilm.cli.steps import with_bars
from refilm.cli.stopping import deferred
from refilm.jobs.claims import STALE_AFTER, Claims
from refilm.jobs.job import Job
from refilm.jobs.records import Record, Records, Status
from refilm.jobs.sharing import Share
from refilm.settings import Settings, shared

if TYPE_CHECKING:
    from refilm.generation import Pipeline
    from refilm.jobs.batch import Batch

SHOWN = 20  # failed rows in the table


class Rows(Settings):
    """Which videos are generated, and where they are saved."""

    jobs: Annotated[Path, typer.Argument(show_default=False)]
    """List of videos: .jsonl, an object per line, or .csv, a table with a header. A row has a prompt, and options of
    generate by name."""
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER")]
    """Output folder."""
    shard: Annotated[str | None, typer.Option(metavar="N/COUNT")] = None
    """Make only every COUNT-th row, from row N on, for instance 3/16. Default: all rows, divided among the tasks of a
    SLURM job array and the processes of torchrun."""
    claim: bool = False
    """Share the rows with all processes that run this command: each takes the next free row, and rows of killed
    processes."""
    stale_after: float = Field(default=STALE_AFTER, ge=1, le=86400)
    """Seconds without a heartbeat after which a process on another machine counts as killed, with --claim."""
    metadata: bool = shared(Keeping, "metadata")
    save_state_every: int | None = Field(default=None, ge=1, le=999)
    """Steps after which the state of a row is saved; if the process is killed, the row is continued from there.
    Default: never, and the row begins anew."""


class Options(Model):
    """The model that generates."""

    adapter: str = "default"
    """An adapter's folder or Hub id, 'default' (shipped with the base model) or 'none' (no adapter)."""


@with_options(Rows, Options)
def batch(rows: Rows, model: Options) -> None:
    """Generate the videos of a list, one per row.

    If interrupted, run it again to continue: rows that are done are skipped. An error in a row does not stop the
    others; the exit code is then 1.
    """
    from refilm.jobs.reading import read_jobs

    jobs = read_jobs(rows.jobs)
    mine, together = _shared(jobs, rows, os.environ)
    others = model.model_dump(include={"adapter", "image_encoder", "dtype"}, exclude_defaults=True)
    records = Records(rows.output, {"base": model.base, **others})
    claims = Claims(records.folder, stale_after=rows.stale_after) if rows.claim else None
    from refilm.jobs.batch import Batch  # imports torch, which errors of the list need not wait for

    keeping = rows.model_dump(include={"metadata", "save_state_every"})
    _make(Batch(mine, records, lambda: loaded(model), claims=claims, step_context=deferred, **keeping))
    names = {job.output for job in together}
    _report(records, [record for record in records.write_report(jobs) if record.output in names])


def _shared(jobs: Sequence[Job], rows: Rows, environment: Mapping[str, str]) -> tuple[list[Job], list[Job]]:
    """The rows of this process, in the order in which it makes them, and those of all processes of its torchrun."""
    shard = None if rows.shard is None else Share.of_text(rows.shard)
    if rows.claim:
        together, share = (shard or Share()).of(jobs), Share.of_environment(environment)
        if share.count > 1:
            print_line(f"{share} first, then the rows that others leave")
        return share.first(together), together
    outer, inner = shard or Share.of_array(environment), Share.of_torchrun(environment)
    together, share = outer.of(jobs), outer.divided(inner)
    mine = inner.of(together)
    if share.count > 1:
        print_line(f"{share}: {len(mine)} of {len(jobs)} rows")
    return mine, together


def _make(batch: "Batch") -> None:
    """Make the missing videos, and print a line for each."""
    for record in with_bars(batch.run()):
        _print(record, batch.records.out)


def loaded(model: Options) -> "Pipeline":
    """The model of a command that makes many videos; under torchrun, each process of a machine has its own GPU."""
    with working("loading"):
        import torch

        from refilm.generation import load

        device = model.device
        if device is None and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
            device = f"cuda:{os.environ['LOCAL_RANK']}"  # of torchrun: a GPU for each process of a machine
        adapter = None if model.adapter == "none" else model.adapter
        return load(
            model.base,
            adapter=adapter,
            image_encoder=model.image_encoder,
            device=device,
            dtype=model.dtype,
            memory=model.memory,
        )


def _print(record: Record, out: Path) -> None:
    if record.status == "done":
        print_line(f"{out / record.output}: seed {record.seed}, {clock(record.seconds or 0)}")
    else:
        print_error(f"error: {record.error}")


def _report(records: Records, rows: Sequence[Record]) -> None:
    """Print the failed rows as a table, and a summary.

    Raises:
        typer.Exit: a row failed. While rows are open, other processes of torchrun still make them; it would end these.
    """
    from rich.table import Table

    failed = [row for row in rows if row.status == "failed"]
    if failed:
        table = Table("row", "output", "error", box=None)
        for row in failed[:SHOWN]:
            table.add_row(str(row.number), plain(row.output), plain(row.error or ""))
        screen().print(table)
    counts = Counter(row.status for row in rows)
    known = ", ".join(f"{counts[status]} {status}" for status in get_args(Status))
    print_line(f"{records.out}: {known}; {records.report}")
    if failed and not counts["open"]:
        raise typer.Exit(1)
