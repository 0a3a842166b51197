"""`refilm generate`: generate a video from a prompt and a reference image."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refilm.cli.asking import RANGE, Model, SamplingOptions, Wanted, asked
from refilm.cli.console import print_line, working
from refilm.cli.making import Keeping, sampled, saved
from refilm.cli.options import with_options
from refilm.cli.parsing import steps_of
from refilm.cli.recipe_options import from_recipe
from refilm.cli.subject_options import SubjectOptions
from refilm.cli.subjects import subjects_of
from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.generation.request import Request
from refilm.settings import Seed, Settings

if TYPE_CHECKING:
    from refilm.generation import AttentionMaps, Pipeline
    from refilm.media import Video


class Output(Settings):
    """Where the video is saved, and what else is."""

    output: Annotated[Path, typer.Option("--output", "-o")]
    """Output file: .mp4, .webm, .gif, .webp, or .png for one image per frame."""
    seed: Seed | None = None
    """Random seed of the video. Default: random."""
    explain: bool = False
    """Also write a video and a sheet of heat maps: which parts of the reference image were used."""
    explain_steps: Annotated[str | None, typer.Option(metavar=RANGE)] = None
    """Sampler steps that --explain averages over, for instance 5-14. Default: all."""


PARTS = (Wanted, Output, Model, SamplingOptions, Keeping)


class Recipe(Settings):
    """Where options are stored."""

    recipe: Annotated[Path | None, from_recipe(*PARTS, left=SubjectOptions)] = None
    """TOML file with any of these options by name (guidance_steps = "1-20"), and a table [subjects.NAME] for each
    subject. Relative paths in it are relative to its folder. Options of the command line come first."""


@with_options(Wanted, Output, SubjectOptions, Model, SamplingOptions, Keeping, Recipe)
def generate(
    wanted: Wanted,
    output: Output,
    chosen: SubjectOptions,
    model: Model,
    sampling: Settings,
    keeping: Keeping,
    stored: Recipe,
) -> None:
    """Generate a video that follows a prompt and shows the subject of a reference image."""
    from refilm.media import check_size, check_target

    started = time.perf_counter()
    check_target(output.output)  # fail before the video is generated, not after
    explain = output.explain or output.explain_steps is not None
    if explain and not subjects_of(chosen, recipe=stored.recipe):
        raise UserError("--explain shows which parts of a reference image were used: give one with --reference")
    wish = asked(wanted, chosen, model, sampling, recipe=stored.recipe)
    request, pipeline, subjects = wish.request, wish.pipeline, wish.subjects
    check_size(output.output, request.height, request.width, keeping.scale or 1)
    if explain:
        _require_reference_attention(request)
    maps = _maps(output.explain_steps, request.steps) if explain else None
    seed = random.randrange(2**31) if output.seed is None else output.seed
    run = wish.sampling(seed=seed, wrap_prediction=maps)
    sampled(run, output.output, keeping.save_state_every)
    video = saved(pipeline, run, output.output, keeping, started=started)
    if maps is not None:
        with working("explaining"):
            explained = _explained(pipeline, maps, video, subjects, output.output)
        print_line(f"heat maps: {', '.join(map(str, explained))}")


def _maps(steps: str | None, of: int) -> "AttentionMaps":
    from refilm.generation import AttentionMaps

    return AttentionMaps(steps=steps_of(steps, of))


def _explained(
    pipeline: "Pipeline", maps: "AttentionMaps", video: "Video", subjects: Sequence[Subject], output: Path
) -> list[Path]:
    """Write the heat maps of every image, and of the subjects if there are several."""
    from refilm.generation.conditions import images_of

    images = [(number, view, image) for number, one in enumerate(subjects) for view, image in enumerate(images_of(one))]
    files: list[Path] = []
    for number, view, image in images:
        of_image = f".{subjects[number].name}-{view + 1}" if len(images) > 1 else ""
        explanation = pipeline.explain(maps, video, image, subject=number, view=view)
        files += explanation.save(output.with_name(f"{output.stem}{of_image}{output.suffix}"))
    if len(subjects) > 1:
        files += pipeline.explain_subjects(maps, video, [one.name for one in subjects]).save(output)
    return files


def _require_reference_attention(request: Request) -> None:
    """Refuse settings with which no step would run a reference attention for --explain to show."""
    scales = {"--reference-scale": request.reference_scale}
    if request.guidance_schedule == "constant" and request.guidance_steps is None:  # otherwise some steps have scale 1
        separate = request.reference_guidance
        scales |= {"--guidance": request.guidance} if separate is None else {"--reference-guidance": separate}
    for option, scale in scales.items():
        if scale == 0:
            raise UserError(f"{option} 0 disables the reference, so --explain has nothing to show; use a larger value")
