"""`refilm data ...`: data sets as files."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from refilm.cli.showing import bar, say


def critters(
    out: Annotated[Path, typer.Argument(help="An empty folder, or one that is not there yet.", show_default=False)],
    clips: Annotated[int, typer.Option(metavar="N", min=1, help="How many clips.")] = 100,
    split: Annotated[
        Literal["train", "held_out"],
        typer.Option(help="Subjects to learn from, or those that no training clip ever shows."),
    ] = "train",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed draws the same clips.")] = 0,
) -> None:
    """Draw clips of critters: videos, captions and reference pictures, in the layout of your own data."""
    from refilm.data.critters.files import write_clips

    with bar("drawing", clips) as advance:
        for _ in write_clips(out, clips=clips, split=split, seed=seed):
            advance("drawing")
    say(f"{out}: {clips} clips of critters ({split}, seed {seed}); data.folder of a recipe takes this folder")
