"""`refilm generate`: generate a video from a prompt and a reference image."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refilm.cli.console import print_error, print_line, working
from refilm.cli.making import Keeping, sampled, saved
from refilm.cli.options import BaseOption, Computing, Size, given, naming, option_name, with_options
from refilm.cli.parsing import size_of, steps_of
from refilm.cli.recipe_options import from_recipe
from refilm.cli.subject_options import SubjectOptions
from refilm.cli.subject_texts import require_images
from refilm.cli.subjects import subjects_of
from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.generation.request import Request
from refilm.settings import Seed, Settings

if TYPE_CHECKING:
    from refilm.generation import AttentionMaps, Pipeline
    from refilm.media import Video

RANGE = "FIRST-LAST"
Sampling = given(
    Request,
    *(name for name in Request.model_fields if name not in ("height", "width")),
    guidance_steps=typer.Option(metavar=RANGE, parser=str),
)
OPTIONS = {name: option_name(name) for name in Request.model_fields} | dict.fromkeys(("height", "width"), "--size")


class Output(Settings):
    """What is generated, and where it is saved."""

    prompt: Annotated[str, typer.Argument()]
    """What happens, and where."""
    output: Annotated[Path, typer.Option("--output", "-o")]
    """Output file: .mp4, .webm, .gif, .webp, or .png for one image per frame."""
    negative_reference: Annotated[tuple[Path, ...], typer.Option(metavar="PATH")] = ()
    """Image that the video should not resemble; guidance moves away from it. Repeat it for more images of the same
    subject. Adds no transformer pass."""
    adapter: str = "default"
    """An adapter's folder or Hub id, 'default' (shipped with the base model) or 'none' (no adapter)."""
    seed: Seed | None = None
    """Random seed of the video. Default: random."""
    size: Size = None
    """Width x height in pixels, for instance 720x480."""
    explain: bool = False
    """Also write a video and a sheet of heat maps: which parts of the reference image were used."""
    explain_steps: Annotated[str | None, typer.Option(metavar=RANGE)] = None
    """Sampler steps that --explain averages over, for instance 5-14. Default: all."""


class Model(Computing, BaseOption):
    """The model that generates."""

    image_encoder: str | None = None
    """Folder or Hub id of the image encoder. Default: the adapter's, else the base model's, else
    openai/clip-vit-large-patch14."""
    memory: Literal["high", "low"] = "high"
    """low: load encoders, transformer and autoencoder one after another and free each after use; slower, needs less
    memory."""


class Recipe(Settings):
    """Where options are stored."""

    recipe: Annotated[Path | None, from_recipe(Output, Model, Sampling, Keeping, left=SubjectOptions)] = None
    """TOML file with any of these options by name (guidance_steps = "1-20"), and a table [subjects.NAME] for each
    subject. Relative paths in it are relative to its folder. Options of the command line come first."""


@with_options(Output, SubjectOptions, Model, Sampling, Keeping, Recipe)
def generate(
    wanted: Output, chosen: SubjectOptions, model: Model, sampling: Settings, keeping: Keeping, stored: Recipe
) -> None:
    """Generate a video that follows a prompt and shows the subject of a reference image."""
    from refilm.media import check_size, check_target

    started = time.perf_counter()
    check_target(wanted.output)  # fail before the video is generated, not after
    height, width = size_of(wanted.size)
    require_images(wanted.negative_reference, "--negative-reference")
    explain = wanted.explain or wanted.explain_steps is not None
    subjects = subjects_of(chosen, recipe=stored.recipe)
    if explain and not subjects:
        raise UserError("--explain shows which parts of a reference image were used: give one with --reference")
    adapter = None if wanted.adapter == "none" else wanted.adapter
    if adapter is None and (subjects or wanted.negative_reference):
        raise UserError("a reference needs an adapter: remove --adapter none, or the references")
    with working("loading"):
        from refilm.generation import AttentionMaps, load
        from refilm.generation.domain_notes import domain_notes

        pipeline = load(model.base, adapter=adapter, **model.model_dump(exclude={"base"}))
    with naming(Request, OPTIONS):
        request = pipeline.request(**dict(sampling), height=height, width=width)
    check_size(wanted.output, request.height, request.width, keeping.scale or 1)
    if explain:
        _require_reference_attention(request)
    maps = AttentionMaps(steps=steps_of(wanted.explain_steps, request.steps)) if explain else None
    seed = random.randrange(2**31) if wanted.seed is None else wanted.seed
    references = {"references": [subjects or None], "negative_reference": wanted.negative_reference or None}
    for note in domain_notes(pipeline.base, wanted.prompt):
        print_error(f"note: {note}")
    run = pipeline.sample([wanted.prompt], seeds=[seed], request=request, wrap_prediction=maps, **references)
    sampled(run, wanted.output, keeping.save_state_every)
    video = saved(pipeline, run, wanted.output, keeping, started=started)
    if maps is not None:
        with working("explaining"):
            explained = _explained(pipeline, maps, video, subjects, wanted.output)
        print_line(f"heat maps: {', '.join(map(str, explained))}")


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
