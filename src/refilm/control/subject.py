"""A subject as a user describes it: its images or its file, and where, when and how strongly it appears."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from refilm.errors import UserError
from refilm.printable import printable
from refilm.settings import Settings, explain
from refilm.settings.curves import Curve

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    AnyImage = Path | str | Image | np.ndarray
else:
    AnyImage = Any  # options of commands are made from these settings, and should not wait for imports

NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"
MOST_VIEWS = 64
ARTICLES = re.compile(r"^(a|an|the)(\s+|$)", re.IGNORECASE)


def _image(value: Any) -> Any:
    """A path, or an image in memory, which has a size; it is read where it is used."""
    if isinstance(value, str) and not value:
        raise PydanticCustomError("image", "is empty; give the path of an image")
    if not isinstance(value, Path | str) and not hasattr(value, "size"):
        message = "an image must be a path, a PIL image or a numpy array, received {kind}"
        raise PydanticCustomError("image", message, {"kind": type(value).__name__})
    return value


def _word(value: str) -> str:
    if printable(value) != value:
        raise PydanticCustomError("word", "contains control characters; remove them")
    if not ARTICLES.sub("", value.strip()):
        raise PydanticCustomError("word", "names no subject; give a noun, with or without its article")
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _several(value: Any) -> Any:
    """One value as a list of one, so that a single image or word needs no brackets."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


ImageLike = Annotated[AnyImage, PlainValidator(_image), PlainSerializer(lambda value: str(value))]
"""A path, a PIL image or an array; `as_image` or `as_mask` reads it."""
Weight = Annotated[float, Field(gt=0, le=100)]
Word = Annotated[str, Field(max_length=200), AfterValidator(_word)]


class Controls(Settings):
    """What a subject is called, and when and how strongly it appears."""

    name: str = Field(default="subject", pattern=NAME)
    """Name of the subject, the same in all its controls."""
    weights: Annotated[tuple[Weight, ...], BeforeValidator(_several)] = ()
    """Weight of each image: a view of weight 2 counts like two views. Default: 1 for each."""
    words: Annotated[tuple[Word, ...], BeforeValidator(_several)] = Field(default=(), max_length=16)
    """Words of the prompt that mean the subject ("fox"): it appears where the model draws these words. The first ones
    that the prompt contains are used. Default: those of the subject file."""
    scale: float = Field(default=1.0, ge=0, le=10)
    """Strength of this subject; 0 disables it."""
    frames: Annotated[Curve, BeforeValidator(_tuple)] = 1.0
    """Strength over the video's frames: 0.5, "0..1", "5-14" (these frames only), "1:0 9:0 10:1" (values at frames) or a
    list."""
    steps: Annotated[Curve, BeforeValidator(_tuple)] = 1.0
    """Strength over the sampler steps, written like that over the frames. Early steps decide the layout."""
    blocks: Annotated[Curve, BeforeValidator(_tuple)] = 1.0
    """Strength over the transformer's blocks, written like that over the frames."""


class Subject(Controls):
    """A subject: who appears (images or a subject file), and where, when and how strongly.

    Raises:
        UserError: a value is invalid; names it.
    """

    images: Annotated[tuple[ImageLike, ...], BeforeValidator(_several)] = Field(default=(), max_length=MOST_VIEWS)
    """Images of the subject: several are views of it, not several subjects."""
    file: Annotated[Path | None, BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value)] = None
    """Subject file (`refilm subject make`) or its Hub id, in place of images."""
    image_masks: Annotated[tuple[ImageLike, ...], BeforeValidator(_several)] = Field(default=(), max_length=MOST_VIEWS)
    """Mask of each image, white where the subject is: the rest of the image is not read. Default: all is read."""
    mask: ImageLike | None = None
    """Mask, white where the subject may appear: an image, or a GIF or video with a mask for each frame."""

    def __init__(self, *images: Any, **values: Any):
        if images and "images" in values:
            raise UserError("images: given twice; give them first or as images=")
        try:
            super().__init__(**({"images": images[0] if len(images) == 1 else images} if images else {}), **values)
        except ValidationError as error:
            raise UserError(explain(error, Subject)) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subject) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[Any, ...]:
        """All values; images in memory are equal if they are the same object."""

        def of(value: Any) -> Any:
            return value if isinstance(value, Path | str) or not hasattr(value, "size") else id(value)

        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(tuple(map(of, value)) if isinstance(value, tuple) else of(value) for value in values)

    @model_validator(mode="after")
    def _of_one_source(self) -> Self:
        if bool(self.images) == (self.file is not None):
            raise UserError(f"{self.name}: give images or a subject file, and not both")
        for name in ("weights", "image_masks"):
            if (given := len(getattr(self, name))) not in (0, len(self.images)):
                raise UserError(
                    f"{self.name}: {name}: {given} for {len(self.images)} images; give one for each image (a subject "
                    "file stores its own)"
                )
        return self
