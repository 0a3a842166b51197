"""The options of subjects: `--reference`, `--subject`, and one for each of their controls."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field, create_model

from refilm.cli.subject_texts import LISTS
from refilm.control.subject import Subject
from refilm.settings import Settings

CONTROLS = ("words", "mask", "scale", "frames", "steps", "blocks", "weights", "image_masks")
OF = "As NAME=VALUE; without NAME= for a single subject."
SEVERAL = "Separate several by commas, or repeat the option."


class _Who(Settings):
    """Who appears."""

    reference: Annotated[tuple[Path, ...], typer.Option(metavar="PATH")] = ()
    """Reference image of the subject; repeat it for more views of the same subject. Default: no reference."""
    subject: Annotated[tuple[str, ...], typer.Option(metavar="NAME=SOURCE")] = ()
    """Subject: NAME=fox.png, NAME=fox.png,side.png (views), or a subject file or its Hub id, with or without NAME=.
    Repeat it for several subjects."""


def _control(name: str) -> tuple[Any, Any]:
    sentences = (Subject.model_fields[name].description or "", *([SEVERAL] if name in LISTS else []), OF)
    return Annotated[tuple[str, ...], typer.Option(metavar="[NAME=]VALUE")], Field(
        default=(), description=" ".join(sentences)
    )


if TYPE_CHECKING:
    SubjectOptions = _Who
else:
    SubjectOptions = create_model(
        "SubjectOptions", __base__=_Who, **{f"subject_{name}": _control(name) for name in CONTROLS}
    )
