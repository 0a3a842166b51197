"""`refilm data prepare`: create reference images for clips without any."""

from pathlib import Path
from typing import Annotated

import typer
from PIL import ImageColor

from refilm.cli.console import bar, print_error, print_line, working
from refilm.cli.data import AllowOutside, Manifest
from refilm.cli.options import Base
from refilm.errors import UserError


def prepare(
    manifest: Manifest,
    out: Annotated[
        Path, typer.Option(help="The new manifest; images are written to references/ beside it.", show_default=False)
    ],
    base: Base = "pocket",
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Frames that training reads from the start of each clip; references are taken from other frames.",
            show_default="the base model's",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", min=0.01, max=1000, help="Frames per second in training.", show_default="the base model's"
        ),
    ] = None,
    min_distance: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Minimum distance between a clip's first frame and a reference from the same video.",
        ),
    ] = 1.0,
    candidates: Annotated[
        int,
        typer.Option(
            metavar="N", min=2, max=64, help="Number of candidate frames per reference; the sharpest is used."
        ),
    ] = 8,
    cut_out: Annotated[
        bool,
        typer.Option(
            "--cut-out",
            help="Cut out subjects that have a mask (of the clip or the reference) and place them on a plain "
            "background.",
        ),
    ] = False,
    remove_background: Annotated[
        bool,
        typer.Option("--remove-background", help="Segment frames without a mask with rembg (an optional package)."),
    ] = False,
    model: Annotated[str, typer.Option(help="rembg's model; rembg downloads it on first use.")] = "u2net",
    background: Annotated[
        str, typer.Option(help="Background color of --cut-out and --remove-background: a name or #rrggbb.")
    ] = "white",
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Omit clips without a reference from the new manifest.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Random seed of the choice of frames.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of processes that read videos.", show_default="one per core"),
    ] = None,
    patience: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="Time limit for one image.")] = 120.0,
    allow_outside: AllowOutside = False,
) -> None:
    """Create references for clips without any: frames from other moments, optionally on a plain background."""
    from refilm.checkpoints.defaults import load_defaults
    from refilm.checkpoints.sources import open_source
    from refilm.data.manifest import read_examples
    from refilm.data.preparing import PrepareSettings, background_remover, plan
    from refilm.data.preparing import prepare as steps

    own = load_defaults(open_source(base, weights=False).folder)
    settings = PrepareSettings.of(
        min_distance=min_distance,
        frames=frames or own.frames,
        fps=fps or own.fps,
        candidates=candidates,
        cut_out=cut_out,
        background=color_of(background),
        seed=seed,
    )
    with working("reading the manifest"):
        examples = read_examples(manifest, allow_outside=allow_outside)
        remover = background_remover(model) if remove_background else None
        planned = plan(examples, out, settings, remover=remover, allow_outside=allow_outside)
    faults = 0
    with bar("making references", len(planned.jobs)) as advance:
        for fault in steps(planned, workers=workers, patience=patience, leave_out=leave_out):
            advance("making references")
            if fault is not None:
                faults += 1
                print_error(f"no reference: {fault}")
    clips = len(read_examples(out, allow_outside=allow_outside))
    made, new = planned.made - faults, len(planned.jobs) - faults
    print_line(f"{out}: {clips} of {len(examples)} clips, {made} references made, {new} of them new")
    print_line(f"run: refilm data check {out}")


def color_of(text: str) -> tuple[int, int, int]:
    """Red, green and blue, from a color's name or "#rrggbb".

    Raises:
        UserError: the text is not a color.
    """
    try:
        red, green, blue, *_ = ImageColor.getrgb(text)
    except ValueError as error:
        raise UserError(
            f"--background {text!r}: is not a color; give a name, or red, green and blue as #rrggbb"
        ) from error
    return red, green, blue
