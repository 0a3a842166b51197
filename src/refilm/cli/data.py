"""`refilm data ...`: data sets as files, drawn, imported and checked."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from refilm.cli.options import Base, size_of
from refilm.cli.showing import bar, clock, say, screen, working
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
AllowOutside = Annotated[bool, typer.Option("--allow-outside", help="Files may lie outside of the manifest's folder.")]


def critters(
    out: Annotated[Path, typer.Argument(help="An empty folder, or one that is not there yet.", show_default=False)],
    clips: Annotated[int, typer.Option(metavar="N", min=1, help="How many clips.")] = 100,
    split: Annotated[
        Literal["train", "held_out", "train_combinations", "held_out_combinations"],
        typer.Option(
            help="Subjects to learn from, or those that no training clip ever shows; _combinations: held out are whole "
            "combinations of shape, colors and pattern."
        ),
    ] = "train",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed draws the same clips.")] = 0,
    subjects: Annotated[int, typer.Option(metavar="N", min=1, max=2, help="Subjects in each clip, 1 or 2.")] = 1,
) -> None:
    """Draw clips of critters: videos, captions and reference images, in the layout of your own data."""
    from refilm.data.critters.files import write_clips

    with bar("drawing", clips) as advance:
        for _ in write_clips(out, clips=clips, split=split, seed=seed, subjects=subjects):
            advance("drawing")
    listed = out if subjects == 1 else out / "manifest.jsonl"
    say(f"{out}: {clips} clips of critters ({split}, seed {seed}); next: refilm data check {listed}")


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder with videos/, labels/ and ref_images/, or with 1.mp4 beside 1.txt, or with metadata.jsonl, "
            "or with prompts.txt and videos.txt; a .csv, .jsonl, .parquet or WebDataset .tar, or a folder of the "
            "latter two; or the id of a data set on the Hub, owner/name.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="An empty folder, or one that is not there yet.", show_default=False)],
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD=COLUMN,...",
            help="What a table calls things otherwise, for instance video=path,caption=text. Fields: video, caption, "
            "references, start, end, subject, mask.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split of a data set on the Hub.")] = "train",
    allow_outside: Annotated[
        bool,
        typer.Option(
            "--allow-outside", help="Leave files where they are, and let a table's paths lead out of its folder."
        ),
    ] = False,
) -> None:
    """Bring clips of other formats into a folder with a manifest. Files are linked where possible, else copied."""
    from refilm.data.importing import MANIFEST, Columns, find_layout, write_rows

    clips = 0
    with working("importing"):
        layout = find_layout(source, Columns.parse(columns), split=split, allow_outside=allow_outside)
        for clips in write_rows(layout.rows, out, allow_outside=allow_outside):  # noqa: B007
            pass
    taken = f"{clips} clips of {source}, taken for {layout.words}"
    say(f"{out / MANIFEST}: {taken}; run: refilm data check {out / MANIFEST}")


def check(
    manifest: Manifest,
    base: Base = "pocket",
    frames: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Frames that a clip needs.", show_default="the base's")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="RATE", min=0.01, max=1000, help="Frames a second of clips.", show_default="the base's"),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Pixels of clips, width x height.", show_default="the base's")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that look.", show_default="one a core")
    ] = None,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long looking at one file may take.")
    ] = 120.0,
    allow_outside: AllowOutside = False,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a manifest of the usable clips alone, to be checked again.", show_default=False
        ),
    ] = None,
) -> None:
    """Look at every clip, caption and image, and write a report beside the manifest. Exit code 1: not all usable."""
    from refilm.checkpoints.defaults import load_defaults
    from refilm.checkpoints.sources import open_source
    from refilm.data.checking import Words, keep_usable, report_paths
    from refilm.data.checking import check as look

    source = open_source(base, weights=False)
    tokenizer = source.tokenizer()
    words = Words(lambda caption: len(tokenizer(caption).input_ids), base)
    settings = _settings(load_defaults(source.folder), source.size.text_length, frames, fps, size)
    workers = workers or os.cpu_count() or 1
    looking = look(manifest, settings, words=words, workers=workers, patience=patience, allow_outside=allow_outside)
    report = _followed(looking, "looking")
    _tell(manifest, report)
    if keep is not None:
        say(f"{keep}: {keep_usable(manifest, report, keep)} clips; run: refilm data check {keep}")
    say(f"{report_paths(manifest)[1]}: the report, in {clock(report.seconds)}")
    raise typer.Exit(0 if report.usable else 1)


def _settings(
    defaults: "Defaults", tokens: int, frames: int | None, fps: float | None, size: str | None
) -> "CheckSettings":
    """What the base makes, unless something else is wanted."""
    from refilm.data.checking import CheckSettings

    height, width = size_of(size)
    return CheckSettings(
        frames=frames or defaults.frames,
        fps=fps or defaults.fps,
        height=height or defaults.height,
        width=width or defaults.width,
        tokens=tokens,
    )


def _followed(steps: Generator[tuple[int, int], None, Result], name: str) -> Result:
    """Show how far a work is, and return what it gives."""
    _, total = next(steps)
    with bar(name, total) as advance:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            advance(name)


def _tell(manifest: Path, report: "Report") -> None:
    """Each kind of finding, how many clips have it, and the first of them in words."""
    console, clips = screen(), len(report.clips)
    unusable = sum(not clip.usable for clip in report.clips)
    verdict = f"{unusable} cannot be used" if unusable else "all can be used"
    line = printable(f"{manifest}: {clips} clips, {verdict}")
    console.print(Text(line, "red" if unusable else "green"))
    firsts = [
        next(found for clip in report.clips for found in clip.findings if found.kind == kind) for kind in report.kinds
    ]
    if not console.is_terminal:
        for first in firsts:
            say(f"{first.level}, {first.kind}: {report.count(first.kind)} clips; the first: {first.message}")
    elif firsts:
        table = Table("finding", "level", "clips", "the first")
        for first in firsts:
            table.add_row(first.kind, first.level, str(report.count(first.kind)), Text(printable(first.message)))
        console.print(table)
