"""`refilm data prepare`: references for clips that have none."""

from pathlib import Path
from typing import Annotated

import typer
from PIL import ImageColor
from pydantic import ValidationError

from refilm.cli.data import AllowOutside, Manifest
from refilm.cli.options import Base
from refilm.cli.showing import bar, complain, say, working
from refilm.settings import explain


def prepare(
    manifest: Manifest,
    out: Annotated[
        Path, typer.Option(help="The new manifest; images come into references/ beside it.", show_default=False)
    ],
    base: Base = "pocket",
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Frames that training takes from the start of each clip; references come from elsewhere.",
            show_default="the base's",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", min=0.01, max=1000, help="Frames a second that training takes.", show_default="the base's"
        ),
    ] = None,
    min_distance: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="The least between a clip's first frame and a reference from the same video."
        ),
    ] = 1.0,
    candidates: Annotated[
        int, typer.Option(metavar="N", min=2, max=64, help="Frames looked at for a reference; the sharpest is taken.")
    ] = 8,
    cut_out: Annotated[
        bool,
        typer.Option(
            "--cut-out", help="Lay subjects that have a mask, of their clip or of their reference, on plain ground."
        ),
    ] = False,
    remove_background: Annotated[
        bool,
        typer.Option("--remove-background", help="Find the subject of frames without a mask by rembg, an extra."),
    ] = False,
    model: Annotated[str, typer.Option(help="rembg's model, which rembg fetches at its first use.")] = "u2net",
    background: Annotated[
        str, typer.Option(help="The plain ground of --cut-out and --remove-background: a color's name, or #rrggbb.")
    ] = "white",
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Write the manifest without the clips that got no reference.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed takes the same frames.")] = 0,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that read videos.", show_default="one a core")
    ] = None,
    patience: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long one image may take.")] = 120.0,
    allow_outside: AllowOutside = False,
) -> None:
    """Make references for the clips that have none: frames of other moments, on plain ground if you like."""
    from refilm.checkpoints.defaults import load_defaults
    from refilm.checkpoints.sources import open_source
    from refilm.data.manifest import read_examples
    from refilm.data.preparing import PrepareSettings, background_remover, plan
    from refilm.data.preparing import prepare as steps

    own = load_defaults(open_source(base, weights=False).folder)
    try:
        settings = PrepareSettings(
            min_distance=min_distance,
            frames=frames or own.frames,
            fps=fps or own.fps,
            candidates=candidates,
            cut_out=cut_out,
            background=color_of(background),
            seed=seed,
        )
    except ValidationError as error:
        raise ValueError(explain(error)) from error
    with working("reading what is there"):
        examples = read_examples(manifest, allow_outside=allow_outside)
        remover = background_remover(model) if remove_background else None
        planned = plan(examples, out, settings, remover=remover, allow_outside=allow_outside)
    faults = 0
    with bar("making references", len(planned.jobs)) as advance:
        for fault in steps(planned, workers=workers, patience=patience, leave_out=leave_out):
            advance("making references")
            if fault is not None:
                faults += 1
                complain(f"no reference: {fault}")
    clips = len(read_examples(out, allow_outside=allow_outside))
    made, new = planned.made - faults, len(planned.jobs) - faults
    say(f"{out}: {clips} of {len(examples)} clips, {made} references made, {new} of them now")
    say(f"run: refilm data check {out}")


def color_of(text: str) -> tuple[int, int, int]:
    """Red, green and blue, from a color's name or "#rrggbb".

    Raises:
        ValueError: no such color.
    """
    try:
        red, green, blue, *_ = ImageColor.getrgb(text)
    except ValueError as error:
        raise ValueError(f"--background {text!r}: give a color's name, or red, green and blue as #rrggbb") from error
    return red, green, blue
