"""Options of all commands that generate: what is asked for, by which model, with which settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refilm.cli.console import print_error, working
from refilm.cli.options import BaseOption, Computing, Size, given, naming, option_name
from refilm.cli.parsing import size_of
from refilm.cli.subject_options import SubjectOptions
from refilm.cli.subject_texts import require_images
from refilm.cli.subjects import subjects_of
from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.generation.request import Request
from refilm.settings import Settings

if TYPE_CHECKING:
    from refilm.generation import Pipeline
    from refilm.generation.sampling import Sampling

RANGE = "FIRST-LAST"
SamplingOptions = given(
    Request,
    *(name for name in Request.model_fields if name not in ("height", "width")),
    guidance_steps=typer.Option(metavar=RANGE, parser=str),
)
OPTIONS = {name: option_name(name) for name in Request.model_fields} | dict.fromkeys(("height", "width"), "--size")


class Wanted(Settings):
    """What is generated."""

    prompt: Annotated[str, typer.Argument()]
    """What happens, and where."""
    negative_reference: Annotated[tuple[Path, ...], typer.Option(metavar="PATH")] = ()
    """Image that the video should not resemble; guidance moves away from it. Repeat it for more images of the same
    subject. Adds no transformer pass."""
    adapter: str = "default"
    """An adapter's folder or Hub id, 'default' (shipped with the base model) or 'none' (no adapter)."""
    size: Size = None
    """Width x height in pixels, for instance 720x480."""


class Model(Computing, BaseOption):
    """The model that generates."""

    image_encoder: str | None = None
    """Folder or Hub id of the image encoder. Default: the adapter's, else the base model's, else
    openai/clip-vit-large-patch14."""
    memory: Literal["high", "low"] = "high"
    """low: load encoders, transformer and autoencoder one after another and free each after use; slower, needs less
    memory."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What the options of a command ask for, with the model loaded."""

    prompt: str
    subjects: tuple[Subject, ...]
    negative_reference: tuple[Path, ...]
    pipeline: "Pipeline"
    request: Request

    def sampling(self, *, seed: int, **options: Any) -> "Sampling":
        """A run of its video; `options` are those of `Pipeline.sample`."""
        return self.pipeline.sample(
            [self.prompt],
            [self.subjects or None],
            seeds=[seed],
            request=self.request,
            negative_reference=self.negative_reference or None,
            **options,
        )


def asked(wanted: Wanted, chosen: SubjectOptions, model: Model, sampling: Settings, *, recipe: Path | None) -> Asked:
    """Check the options, and load the model.

    Raises:
        UserError: an option is invalid, or the model cannot be loaded.
    """
    height, width = size_of(wanted.size)
    require_images(wanted.negative_reference, "--negative-reference")
    subjects = subjects_of(chosen, recipe=recipe)
    adapter = None if wanted.adapter == "none" else wanted.adapter
    if adapter is None and (subjects or wanted.negative_reference):
        raise UserError("a reference needs an adapter: remove --adapter none, or the references")
    with working("loading"):
        from refilm.generation import load
        from refilm.generation.domain_notes import domain_notes

        pipeline = load(model.base, adapter=adapter, **model.model_dump(exclude={"base"}))
    with naming(Request, OPTIONS):
        request = pipeline.request(**dict(sampling), height=height, width=width)
    for note in domain_notes(pipeline.base, wanted.prompt):
        print_error(f"note: {note}")
    return Asked(wanted.prompt, subjects, wanted.negative_reference, pipeline, request)
