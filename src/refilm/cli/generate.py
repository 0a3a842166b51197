"""`refilm generate`: generate a video from a prompt and a reference image."""

import random
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from refilm.cli.console import bar, clock, help_of, named, print_error, print_line, working
from refilm.cli.options import Base, Device, Dtype, ImageEncoder, Seed, size_of, steps_of
from refilm.errors import UserError
from refilm.generation.request import GuidanceScheduleName, KernelName, Request, SamplerName


def setting(name: str) -> Any:
    """A command-line option for a setting of `Request`, with the setting's own help text."""
    field = Request.model_fields[name]
    default = "the base model's" if field.is_required() else field.default is not None and str(field.default)
    return typer.Option(help=help_of(Request, name), show_default=default)


def generate(
    prompt: Annotated[str, typer.Argument(help="What happens, and where.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Output file: .mp4, .webm, .gif, .webp, or .png for one image per frame."),
    ],
    reference: Annotated[
        Path | None, typer.Option(help="Reference image of the subject. Default: no reference.", show_default=False)
    ] = None,
    adapter: Annotated[
        str,
        typer.Option(
            help="An adapter's folder or Hub id, 'default' (shipped with the base model) or 'none' (no adapter)."
        ),
    ] = "default",
    base: Base = "pocket",
    image_encoder: ImageEncoder = None,
    seed: Seed = None,
    steps: Annotated[int | None, setting("steps")] = None,
    guidance: Annotated[float | None, setting("guidance")] = None,
    reference_guidance: Annotated[float | None, setting("reference_guidance")] = None,
    guidance_schedule: Annotated[GuidanceScheduleName | None, setting("guidance_schedule")] = None,
    negative_prompt: Annotated[str | None, setting("negative_prompt")] = None,
    reference_scale: Annotated[float | None, setting("reference_scale")] = None,
    frames: Annotated[int | None, setting("frames")] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="Width x height in pixels, for instance 720x480.", show_default="the base model's"
        ),
    ] = None,
    sampler: Annotated[SamplerName | None, setting("sampler")] = None,
    kernel: Annotated[KernelName | None, setting("kernel")] = None,
    step_cache: Annotated[float | None, setting("step_cache")] = None,
    device: Device = None,
    dtype: Dtype = None,
    memory: Annotated[
        Literal["high", "low"],
        typer.Option(
            help="low: load encoders, transformer and autoencoder one after another and free each after use; slower, "
            "needs less memory."
        ),
    ] = "high",
    scale: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Integer factor by which the saved video is enlarged.",
            show_default="enough for 256 pixels; 1 for .png",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also write a video and a sheet of heat maps: which parts of the reference image were used.",
        ),
    ] = False,
    explain_steps: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST-LAST",
            help="Sampler steps that --explain averages over, for instance 5-14.",
            show_default="all",
        ),
    ] = None,
) -> None:
    """Generate a video that follows a prompt and shows the subject of a reference image."""
    from refilm.media import check_target

    started = time.perf_counter()
    check_target(output)  # fail before the video is generated, not after
    height, width = size_of(size)
    explain = explain or explain_steps is not None
    if explain and reference is None:
        raise UserError("--explain shows which parts of a reference image were used: give one with --reference")
    seed = random.randrange(2**31) if seed is None else seed
    with working("loading"):
        from refilm.generation import AttentionMaps, load
        from refilm.generation.domain_notes import domain_notes
        from refilm.media import open_image

        image = None if reference is None else open_image(reference)
        chosen = None if adapter == "none" else adapter
        pipeline = load(base, adapter=chosen, image_encoder=image_encoder, device=device, dtype=dtype, memory=memory)
    request = pipeline.request(
        steps=steps,
        guidance=guidance,
        reference_guidance=reference_guidance,
        guidance_schedule=guidance_schedule,
        negative_prompt=negative_prompt,
        reference_scale=reference_scale,
        frames=frames,
        height=height,
        width=width,
        sampler=sampler,
        kernel=kernel,
        step_cache=step_cache,
    )
    for note in domain_notes(pipeline.base, prompt):
        print_error(f"note: {note}")
    maps = AttentionMaps(steps=steps_of(explain_steps, request.steps)) if explain else None
    latents, explained = None, []
    with bar("sampling", request.steps) as advance:
        for step in pipeline.sample([prompt], [image], seeds=[seed], request=request, wrap_prediction=maps):
            latents = step.latents
            advance("sampling")
    assert latents is not None
    with working("decoding"):
        video = pipeline.decode(latents)[0]
        files = video.save(output, scale=scale)
        if maps is not None and image is not None:
            explained = pipeline.explain(maps, video, image).save(output)
    what = f"{request.frames} frames of {request.width} x {request.height} pixels"
    print_line(f"{named(files)}: {what}, seed {seed}, {clock(time.perf_counter() - started)}")
    if explained:
        print_line(f"heat maps: {', '.join(map(str, explained))}")
