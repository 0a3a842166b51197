"""A subject as a user describes it: its images or its file, and where, when and how strongly it appears."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from refilm.errors import UserError
from refilm.settings import Settings, explain
from refilm.settings.curves import Curve

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    AnyImage = Path | str | Image | np.ndarray
else:
    AnyImage = Any  # options of commands are made from these settings, and should not wait for imports

ImageLike = Annotated[AnyImage, PlainValidator(lambda value: value), PlainSerializer(lambda value: str(value))]
"""Any value that `as_image` accepts; it validates the type."""

NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"
MOST_VIEWS = 64


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _several(value: Any) -> Any:
    """One value as a list of one, so that a single image or word needs no brackets."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Weight = Annotated[float, Field(gt=0, le=100)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Subject(Settings):
    """A subject: who appears (images or a subject file), and where, when and how strongly.

    Raises:
        UserError: a value is invalid; names it.
    """

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UserError(explain(error, Subject)) from error

    name: str = Field(default="subject", pattern=NAME)
    """Name of the subject, the same in all its controls."""
    images: Annotated[tuple[ImageLike, ...], BeforeValidator(_several)] = Field(default=(), max_length=MOST_VIEWS)
    """Images of the subject: several are views of it, not several subjects."""
    file: Annotated[Path | None, BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value)] = None
    """Subject file (`refilm subject make`) or its Hub id, in place of images."""
    weights: Annotated[tuple[Weight, ...], BeforeValidator(_tuple)] = ()
    """Weight of each image: a view of weight 2 counts like two views. Default: 1 for each."""
    image_masks: Annotated[tuple[ImageLike, ...], BeforeValidator(_several)] = Field(default=(), max_length=MOST_VIEWS)
    """Mask of each image, white where the subject is: the rest of the image is not read. Default: all is read."""
    words: Annotated[tuple[Word, ...], BeforeValidator(_several)] = Field(default=(), max_length=16)
    """Words of the prompt that mean the subject ("fox"): it appears where the model draws these words. The first ones
    that the prompt contains are used. Default: those of the subject file."""
    mask: ImageLike | None = None
    """Mask, white where the subject may appear: an image, or a GIF or video with a mask for each frame."""
    scale: float = Field(default=1.0, ge=0, le=10)
    """Strength of this subject; 0 disables it."""
    frames: Annotated[Curve, BeforeValidator(_tuple)] = 1.0
    """Strength over the video's frames: 0.5, "0..1", "5-14" (these frames only), "1:0 9:0 10:1" (values at frames) or a
    list."""
    steps: Annotated[Curve, BeforeValidator(_tuple)] = 1.0
    """Strength over the sampler steps, written like that over the frames. Early steps decide the layout."""
    blocks: Annotated[Curve, BeforeValidator(_tuple)] = 1.0
    """Strength over the transformer's blocks, written like that over the frames."""

    @model_validator(mode="after")
    def _of_one_source(self) -> Self:
        if bool(self.images) == (self.file is not None):
            raise UserError(f"{self.name}: give images or a subject file, and not both")
        for name in ("weights", "image_masks"):
            if (given := len(getattr(self, name))) not in (0, len(self.images)):
                raise UserError(
                    f"{self.name}: {given} {name} for {len(self.images)} images; give one for each image (a subject "
                    "file stores its own)"
                )
        return self
