"""`refilm generate`: generate a video from a prompt and a reference image."""

import random
import time
from pathlib import Path
from typing import Annotated

import typer

from refilm.cli.asking import RANGE, Model, SamplingOptions, Wanted, asked
from refilm.cli.console import print_line, working
from refilm.cli.explaining import explained, maps_of, require_read, require_reference_attention
from refilm.cli.making import Keeping, made, require_free
from refilm.cli.options import with_options
from refilm.cli.parsing import steps_of
from refilm.cli.recipe_options import Stored, stored
from refilm.cli.subject_options import SubjectOptions
from refilm.cli.subjects import subjects_of
from refilm.errors import UserError
from refilm.settings import Seed, Settings


class Output(Settings):
    """Where the video is saved, and what else is."""

    output: Annotated[Path, typer.Option("--output", "-o")]
    """Output file: .mp4, .webm, .gif, .webp, or .png for one image per frame."""
    seed: Seed | None = None
    """Random seed of the video. Default: random."""
    explain: bool = False
    """Also write a video and a sheet of heat maps: which parts of the reference image were used; of a subject file, of
    its first image only."""
    explain_steps: Annotated[str | None, typer.Option(metavar=RANGE)] = None
    """Sampler steps that --explain averages over, for instance 5-14. Default: all."""


PARTS = (Wanted, Output, Model, SamplingOptions, Keeping)


@with_options(Wanted, Output, SubjectOptions, Model, SamplingOptions, Keeping, stored(*PARTS, left=SubjectOptions))
def generate(
    wanted: Wanted,
    output: Output,
    chosen: SubjectOptions,
    model: Model,
    sampling: Settings,
    keeping: Keeping,
    file: Stored,
) -> None:
    """Generate a video that follows a prompt and shows the subject of a reference image."""
    from refilm.media import check_size

    started = time.perf_counter()
    require_free(output.output)  # fail before the video is generated, not after
    explain = output.explain or output.explain_steps is not None
    if explain and not subjects_of(chosen, recipe=file.recipe):
        raise UserError("--explain shows which parts of a reference image were used: give one with --reference")
    wish = asked(wanted, chosen, model, sampling, recipe=file.recipe)
    request, pipeline, subjects = wish.request, wish.pipeline, wish.subjects
    check_size(output.output, request.height, request.width, keeping.scale or 1)
    if explain:
        require_reference_attention(request)
    steps = steps_of(output.explain_steps, request.steps)
    maps = maps_of(steps) if explain else None
    seed = random.randrange(2**31) if output.seed is None else output.seed
    run = wish.sampling(seed=seed, wrap_prediction=maps)
    if explain:
        require_read(subjects, request, blocks=pipeline.base.size.layers, steps=steps)
    video = made(pipeline, run, output.output, keeping, started=started)
    if maps is not None:
        with working("explaining"):
            files = explained(pipeline, maps, video, subjects, output.output)
        print_line(f"heat maps: {', '.join(map(str, files))}")
