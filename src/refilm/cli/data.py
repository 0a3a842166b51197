"""`refilm data ...`: generate critters, import data sets and check them."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer
from pydantic import Field, model_validator
from rich.table import Table
from rich.text import Text

from refilm.cli.console import bar, clock, print_line, screen, working
from refilm.cli.options import BaseOption, ManifestOptions, Size, clip_settings, given, with_options
from refilm.data.settings import CheckSettings
from refilm.errors import UserError
from refilm.printable import printable
from refilm.settings import Settings

if TYPE_CHECKING:
    from refilm.data.checking import Report

Result = TypeVar("Result")


class CrittersOptions(Settings):
    """The clips that are generated."""

    out: Annotated[Path, typer.Argument()]
    """Output folder; must be empty or new."""
    clips: int = Field(default=100, ge=1)
    """Number of clips."""
    split: Literal["train", "held_out", "train_combinations", "held_out_combinations"] = "train"
    """train: subjects to train on; held_out: subjects that no training clip shows. With _combinations, whole
    combinations of shape, colors and pattern are held out."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the clips."""
    subjects: int = Field(default=1, ge=1, le=2)
    """Number of subjects in each clip."""
    stills: bool = False
    """Draw one frame of each clip as an image, to train from photographs; only with one subject."""

    @model_validator(mode="after")
    def _possible(self) -> "CrittersOptions":
        if self.stills and self.subjects == 2:
            raise UserError("stills: show one subject; remove --stills or --subjects 2")
        return self


@with_options(CrittersOptions)
def critters(options: CrittersOptions) -> None:
    """Generate clips of critters: videos, captions and reference images, in the layout of your own data."""
    from refilm.data.critters.files import write_clips, write_stills

    what = options.model_dump(include={"clips", "split", "seed"})
    if options.stills:
        files = write_stills(options.out, **what)
    else:
        files = write_clips(options.out, **what, subjects=options.subjects)
    with bar("drawing", options.clips) as advance:
        for _ in files:
            advance("drawing")
    listed = options.out if options.subjects == 1 else options.out / "manifest.jsonl"
    made = (
        f"{options.clips} {'stills' if options.stills else 'clips'} of critters ({options.split}, seed {options.seed})"
    )
    print_line(f"{options.out}: {made}; next: refilm data check {listed}")


class ImportOptions(Settings):
    """What is imported."""

    source: Annotated[str, typer.Argument()]
    """A folder with videos/, labels/ and ref_images/, with pairs like 1.mp4 and 1.txt, metadata.jsonl, or with
    prompts.txt and videos.txt; a .csv, .jsonl, .parquet or WebDataset .tar file, or a folder of the latter two; or a
    data set's Hub id, owner/name."""
    out: Annotated[Path, typer.Argument()]
    """Output folder; must be empty or new."""
    columns: Annotated[str | None, typer.Option(metavar="FIELD=COLUMN,...")] = None
    """Column names that differ from refilm's, for instance video=path,caption=text. Fields: video, caption,
    references, start, end, subject, mask."""
    split: str = "train"
    """Split of a data set on the Hub."""
    allow_outside: bool = False
    """Reference files in place, and allow a table's paths to lead out of its folder."""


@with_options(ImportOptions)
def import_(options: ImportOptions) -> None:
    """Import clips of other formats into a folder with a manifest. Files are linked where possible, else copied."""
    from refilm.data.importing import MANIFEST, Columns, find_layout, write_rows

    clips, outside = 0, options.allow_outside
    with working("importing"):
        columns = Columns.parse(options.columns)
        layout = find_layout(options.source, columns, split=options.split, allow_outside=outside)
        for clips in write_rows(layout.rows, options.out, allow_outside=outside):  # noqa: B007
            pass
    taken, manifest = f"{clips} clips of {options.source}, read as {layout.words}", options.out / MANIFEST
    print_line(f"{manifest}: {taken}; run: refilm data check {manifest}")


class CheckOptions(BaseOption, ManifestOptions):
    """How clips are inspected."""

    size: Size = None
    """Width x height of training clips in pixels."""
    workers: int | None = Field(default=None, ge=1)
    """Number of worker processes. Default: one per core."""
    patience: float = Field(default=120.0, gt=0, le=1_000_000)
    """Time limit for inspecting one file, in seconds."""
    keep: Annotated[Path | None, typer.Option(metavar="FILE")] = None
    """Write a manifest of only the usable clips; check it again before use."""


@with_options(CheckOptions, given(CheckSettings, of_base=("frames", "fps")))
def check(options: CheckOptions, clips: Settings) -> None:
    """Inspect every clip, caption and image, and write a report beside the manifest.

    Exit code 1: some clips cannot be used.
    """
    from refilm.checkpoints.defaults import load_defaults
    from refilm.checkpoints.sources import open_source
    from refilm.data.checking import TokenCounter, keep_usable, report_paths
    from refilm.data.checking import check as inspect

    source, manifest = open_source(options.base, weights=False), options.manifest
    tokenizer = source.tokenizer()
    own = clip_settings(load_defaults(source.folder), clips, options.size)
    steps = inspect(
        manifest,
        CheckSettings.of(**own, tokens=source.size.text_length),
        counter=TokenCounter(lambda caption: len(tokenizer([caption])[0]), options.base),
        workers=options.workers or os.cpu_count() or 1,
        patience=options.patience,
        allow_outside=options.allow_outside,
    )
    report = _followed(steps, "inspecting")
    _print_report(manifest, report)
    if options.keep is not None:
        kept = keep_usable(manifest, report, options.keep)
        print_line(f"{options.keep}: {kept} clips; run: refilm data check {options.keep}")
    print_line(f"{report_paths(manifest)[1]}: report written in {clock(report.seconds)}")
    raise typer.Exit(0 if report.usable else 1)


def _followed(steps: Generator[tuple[int, int], None, Result], name: str) -> Result:
    """Run a generator under a progress bar, and return its result."""
    _, total = next(steps)
    with bar(name, total) as advance:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            advance(name)


def _print_report(manifest: Path, report: "Report") -> None:
    """Print each kind of finding, the number of clips that have it, and its first message."""
    console, clips = screen(), len(report.clips)
    unusable = sum(not clip.usable for clip in report.clips)
    result = f"{unusable} cannot be used" if unusable else "all can be used"
    line = printable(f"{manifest}: {clips} clips, {result}")
    console.print(Text(line, "red" if unusable else "green"))
    if report.stills:
        rules = "rules about length, frame rate and motion do not apply to them"
        print_line(f"{report.stills} of the clips are images, checked as stills: {rules}")
    firsts = [
        next(found for clip in report.clips for found in clip.findings if found.kind == kind) for kind in report.kinds
    ]
    if not console.is_terminal:
        for first in firsts:
            print_line(f"{first.level}, {first.kind}: {report.count(first.kind)} clips; first: {first.message}")
    elif firsts:
        table = Table("finding", "level", "clips", "first message")
        for first in firsts:
            table.add_row(first.kind, first.level, str(report.count(first.kind)), Text(printable(first.message)))
        console.print(table)
