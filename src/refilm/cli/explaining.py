"""`generate --explain`: heat maps of which parts of its reference images a video read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from refilm.cli.console import print_error
from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.generation.request import Request
from refilm.settings.curves import values_along

if TYPE_CHECKING:
    from refilm.generation import AttentionMaps, Pipeline
    from refilm.media import Video


def require_reference_attention(request: Request) -> None:
    """Check that a step of a request runs a reference attention to show.

    Raises:
        UserError: none does; names the option.
    """
    scales = {"--reference-scale": request.reference_scale}
    if request.guidance_schedule == "constant" and request.guidance_steps is None:  # otherwise some steps have scale 1
        separate = request.reference_guidance
        scales |= {"--guidance": request.guidance} if separate is None else {"--reference-guidance": separate}
    for option, scale in scales.items():
        if scale == 0:
            raise UserError(f"{option} 0 disables the reference, so --explain has nothing to show; use a larger value")


def require_read(subjects: Sequence[Subject], request: Request, *, blocks: int, steps: range | None) -> None:
    """Check that the video reads a subject in the explained steps.

    Args:
        subjects: the subjects; their curves fit the request.
        request: the settings of the video.
        blocks: number of the transformer's blocks.
        steps: indices of the explained steps; None: all.

    Raises:
        UserError: all subjects have strength 0 there.
    """
    explained = steps or range(request.steps)
    for subject in subjects:
        along = values_along(subject.steps, request.steps, of="steps")
        factors = [
            [along[step] for step in explained],
            values_along(subject.frames, request.frames, of="frames"),
            values_along(subject.blocks, blocks, of="blocks"),
        ]
        if subject.scale > 0 and all(map(any, factors)):
            return
    raise UserError(
        "--explain has nothing to show: no subject has a strength above 0 (scale, frames, steps, blocks) in the "
        "explained steps; use larger values, or other --explain-steps"
    )


def maps_of(steps: range | None) -> "AttentionMaps":
    """What records the attention in these steps; None: in all."""
    from refilm.generation import AttentionMaps

    return AttentionMaps(steps=steps)


def explained(
    pipeline: "Pipeline", maps: "AttentionMaps", video: "Video", subjects: Sequence[Subject], output: Path
) -> list[Path]:
    """Write the heat maps of every image, and of the subjects if there are several. Subjects that the video does not
    read are left out, with a note."""
    from refilm.generation.conditions import images_of

    read = (maps.strengths()[:, 0] > 0).any(dim=2).any(dim=0).tolist()  # (blocks, S, N) -> (S,)
    images = [(number, view, image) for number, one in enumerate(subjects) for view, image in enumerate(images_of(one))]
    files: list[Path] = []
    for number, view, image in images:
        if not read[number]:
            continue
        of_image = f".{subjects[number].name}-{view + 1}" if len(images) > 1 else ""
        explanation = pipeline.explain(maps, video, image, subject=number, view=view)
        files += explanation.save(output.with_name(f"{output.stem}{of_image}{output.suffix}"))
    for subject in (one for one, is_read in zip(subjects, read, strict=True) if not is_read):
        print_error(f"note: {subject.name} has strength 0 in the explained steps, so it has no heat map")
    if len(subjects) > 1:
        files += pipeline.explain_subjects(maps, video, [one.name for one in subjects]).save(output)
    return files
