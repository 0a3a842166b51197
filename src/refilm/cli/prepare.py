"""`refilm data prepare`: create reference images for clips without any."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from refilm.cli.console import bar, print_error, print_line, working
from refilm.cli.options import BaseOption, ManifestOptions, chosen, given, with_options
from refilm.cli.parsing import color_of
from refilm.data.settings import PrepareSettings
from refilm.settings import Settings


class PrepareOptions(BaseOption, ManifestOptions):
    """Where references are written, and how the command works."""

    out: Path
    """The new manifest; images are written to references/ beside it."""
    remove_background: bool = False
    """Segment frames without a mask with rembg (an optional package)."""
    model: str = "u2net"
    """rembg's model; rembg downloads it on first use."""
    background: Annotated[str, typer.Option(metavar="COLOR")] = "white"
    """Background color of --cut-out and --remove-background: a name or #rrggbb."""
    leave_out: bool = False
    """Omit clips without a reference from the new manifest."""
    workers: int | None = Field(default=None, ge=1)
    """Number of processes that read videos. Default: one per core."""
    patience: float = Field(default=120.0, gt=0, le=1_000_000)
    """Time limit for one image, in seconds."""


Frames = given(PrepareSettings, "min_distance", "candidates", "cut_out", "seed", of_base=("frames", "fps"))


@with_options(PrepareOptions, Frames)
def prepare(options: PrepareOptions, frames: Settings) -> None:
    """Create references for clips without any: frames from other moments, optionally on a plain background."""
    from refilm.checkpoints.defaults import load_defaults
    from refilm.checkpoints.sources import open_source
    from refilm.data.manifest import read_examples
    from refilm.data.preparing import background_remover, plan
    from refilm.data.preparing import prepare as steps

    own = load_defaults(open_source(options.base, weights=False).folder)
    chosen_frames = {"frames": own.frames, "fps": own.fps} | chosen(frames)
    settings = PrepareSettings.of(**chosen_frames, background=color_of(options.background))
    outside = options.allow_outside
    with working("reading the manifest"):
        examples = read_examples(options.manifest, allow_outside=outside)
        remover = background_remover(options.model) if options.remove_background else None
        planned = plan(examples, options.out, settings, remover=remover, allow_outside=outside)
    faults = 0
    with bar("making references", len(planned.jobs)) as advance:
        for fault in steps(planned, workers=options.workers, patience=options.patience, leave_out=options.leave_out):
            advance("making references")
            if fault is not None:
                faults += 1
                print_error(f"no reference: {fault}")
    clips = len(read_examples(options.out, allow_outside=outside))
    made, new = planned.made - faults, len(planned.jobs) - faults
    print_line(f"{options.out}: {clips} of {len(examples)} clips, {made} references made, {new} of them new")
    if planned.own:
        remedy = "name their `subject`, add images of it, or encode with --views"
        print_line(f"{planned.own} stills are their own reference, which an adapter learns to copy; {remedy}")
    print_line(f"run: refilm data check {options.out}")
