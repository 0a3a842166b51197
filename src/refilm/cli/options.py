"""Options shared by several commands."""

import re
from typing import Annotated, Literal

import typer

from refilm.errors import UserError

Base = Annotated[
    str, typer.Option(help="Base model: pocket (included), a Hub id, or a folder in diffusers' layout or SAT format.")
]
ImageEncoder = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Folder or Hub id of the image encoder.",
        show_default="the adapter's, else the base model's, else openai/clip-vit-large-patch14",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="Device, for instance cpu or cuda. Default: a GPU if there is one.", show_default=False),
]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(help="Dtype of the model. Default: float32 on a CPU, bfloat16 on a GPU.", show_default=False),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, max=2**63 - 1, help="Random seed of the video. Default: random.", show_default=False
    ),
]


def size_of(text: str | None) -> tuple[int | None, int | None]:
    """Height and width, from "WIDTHxHEIGHT"; (None, None) for None.

    Raises:
        UserError: the text has another form.
    """
    if text is None:
        return None, None
    match = re.fullmatch(r"(\d+)\s*[xX×]\s*(\d+)", text.strip())
    if match is None:
        raise UserError(f"--size {text!r}: give width x height in pixels, for instance 720x480")
    width, height = map(int, match.groups())
    return height, width


def steps_of(text: str | None, steps: int) -> range | None:
    """A range of sampler steps, from "FIRST-LAST", both counted from 1; None for None.

    Raises:
        UserError: the text has another form, or the steps do not exist.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)-(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= steps:
        raise UserError(
            f"--explain-steps {text!r}: give the first and the last of {steps} steps, for instance 1-{steps}"
        )
    return range(int(match[1]) - 1, int(match[2]))
