"""`refilm data ...`: generate critters, import data sets and check them."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from refilm.cli.console import bar, clock, print_line, screen, working
from refilm.cli.options import Base, size_of
from refilm.printable import printable

if TYPE_CHECKING:
    from refilm.checkpoints.defaults import Defaults
    from refilm.data.checking import CheckSettings, Report

Result = TypeVar("Result")

Manifest = Annotated[
    Path,
    typer.Argument(
        help="A manifest of JSON lines, or a folder with videos/, labels/ and ref_images/.", show_default=False
    ),
]
AllowOutside = Annotated[bool, typer.Option("--allow-outside", help="Allow paths outside of the manifest's folder.")]


def critters(
    out: Annotated[Path, typer.Argument(help="Output folder; must be empty or new.", show_default=False)],
    clips: Annotated[int, typer.Option(metavar="N", min=1, help="Number of clips.")] = 100,
    split: Annotated[
        Literal["train", "held_out", "train_combinations", "held_out_combinations"],
        typer.Option(
            help="train: subjects to train on; held_out: subjects that no training clip shows. With _combinations, "
            "whole combinations of shape, colors and pattern are held out."
        ),
    ] = "train",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Random seed of the clips.")] = 0,
    subjects: Annotated[
        int, typer.Option(metavar="N", min=1, max=2, help="Number of subjects in each clip, 1 or 2.")
    ] = 1,
) -> None:
    """Generate clips of critters: videos, captions and reference images, in the layout of your own data."""
    from refilm.data.critters.files import write_clips

    with bar("drawing", clips) as advance:
        for _ in write_clips(out, clips=clips, split=split, seed=seed, subjects=subjects):
            advance("drawing")
    listed = out if subjects == 1 else out / "manifest.jsonl"
    print_line(f"{out}: {clips} clips of critters ({split}, seed {seed}); next: refilm data check {listed}")


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder with videos/, labels/ and ref_images/, with pairs like 1.mp4 and 1.txt, metadata.jsonl, "
            "or with prompts.txt and videos.txt; a .csv, .jsonl, .parquet or WebDataset .tar file, or a folder of the "
            "latter two; or a data set's Hub id, owner/name.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Output folder; must be empty or new.", show_default=False)],
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD=COLUMN,...",
            help="Column names that differ from refilm's, for instance video=path,caption=text. Fields: video, "
            "caption, references, start, end, subject, mask.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of a data set on the Hub.")] = "train",
    allow_outside: Annotated[
        bool,
        typer.Option(
            "--allow-outside", help="Reference files in place, and allow a table's paths to lead out of its folder."
        ),
    ] = False,
) -> None:
    """Import clips of other formats into a folder with a manifest. Files are linked where possible, else copied."""
    from refilm.data.importing import MANIFEST, Columns, find_layout, write_rows

    clips = 0
    with working("importing"):
        layout = find_layout(source, Columns.parse(columns), split=split, allow_outside=allow_outside)
        for clips in write_rows(layout.rows, out, allow_outside=allow_outside):  # noqa: B007
            pass
    taken = f"{clips} clips of {source}, read as {layout.words}"
    print_line(f"{out / MANIFEST}: {taken}; run: refilm data check {out / MANIFEST}")


def check(
    manifest: Manifest,
    base: Base = "pocket",
    frames: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Frames per training clip.", show_default="the base model's")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            min=0.01,
            max=1000,
            help="Frames per second of training clips.",
            show_default="the base model's",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="Width x height of training clips in pixels.", show_default="the base model's"
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of worker processes.", show_default="one per core")
    ] = None,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Time limit for inspecting one file.")
    ] = 120.0,
    allow_outside: AllowOutside = False,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a manifest of only the usable clips; check it again before use.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Inspect every clip, caption and image, and write a report beside the manifest.

    Exit code 1: some clips cannot be used.
    """
    from refilm.checkpoints.defaults import load_defaults
    from refilm.checkpoints.sources import open_source
    from refilm.data.checking import TokenCounter, keep_usable, report_paths
    from refilm.data.checking import check as inspect

    source = open_source(base, weights=False)
    tokenizer = source.tokenizer()
    counter = TokenCounter(lambda caption: len(tokenizer([caption])[0]), base)
    settings = _settings(load_defaults(source.folder), source.size.text_length, frames, fps, size)
    workers = workers or os.cpu_count() or 1
    steps = inspect(
        manifest, settings, counter=counter, workers=workers, patience=patience, allow_outside=allow_outside
    )
    report = _followed(steps, "inspecting")
    _print_report(manifest, report)
    if keep is not None:
        print_line(f"{keep}: {keep_usable(manifest, report, keep)} clips; run: refilm data check {keep}")
    print_line(f"{report_paths(manifest)[1]}: report written in {clock(report.seconds)}")
    raise typer.Exit(0 if report.usable else 1)


def _settings(
    defaults: "Defaults", tokens: int, frames: int | None, fps: float | None, size: str | None
) -> "CheckSettings":
    """The base model's defaults, except for the given values."""
    from refilm.data.checking import CheckSettings

    height, width = size_of(size)
    return CheckSettings.of(
        frames=frames or defaults.frames,
        fps=fps or defaults.fps,
        height=height or defaults.height,
        width=width or defaults.width,
        tokens=tokens,
    )


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
