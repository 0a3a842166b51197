"""A reference image as other eyes would have it: augmented views, and the subject cut out along its mask.

A view is one affine resampling and one affine map of the colors. Knows nothing of files or of encoders.
"""

import math
from typing import Annotated, Self

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from refilm.media.images import Color
from refilm.settings import Settings

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"
HUE = 36.0  # degrees of hue at color = 1: a subject's colors are part of who it is

Positive = Annotated[float, Field(gt=0, le=10)]


class ViewSettings(Settings):
    """How far augmented views of a reference image depart from it."""

    count: int = Field(default=0, ge=0)
    """Augmented views of each reference, beside the plain one."""
    scale: tuple[Positive, Positive] = (0.8, 1.5)
    """The smallest and the largest scale; drawn evenly on a logarithmic scale."""
    shift: float = Field(default=0.1, ge=0, le=0.5)
    """The farthest shift, as a share of each side; an image made smaller stays within its frame."""
    rotation: float = Field(default=15.0, ge=0, le=180)
    """The largest turn to either side, in degrees."""
    color: float = Field(default=0.1, ge=0, lt=1)
    """The largest change of brightness, contrast and saturation, as a share; hue turns by at most 36 degrees of it."""
    flip: bool = False
    """Whether half of the views are mirrored; not where left and right tell subjects apart, as writing does."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must be the smallest and then the largest, received {self.scale}")
        return self


def view(image: Image.Image, settings: ViewSettings, rng: np.random.Generator, background: Color) -> Image.Image:
    """One augmented view of an RGB image, at the image's own size, on ground of `background`.

    The same state of `rng` draws the same view; every view takes nine numbers from it, whatever the settings.
    """
    size, across, down, turn, mirror, *colors = rng.uniform(-1, 1, 9)
    low, high = map(math.log, settings.scale)
    scale = math.exp(low + (high - low) * (size + 1) / 2)
    reach = settings.shift if scale >= 1 else min(settings.shift, (1 - scale) / 2)
    shift = (across * reach * image.width, down * reach * image.height)
    angle = math.radians(turn * settings.rotation)
    moved = _moved(image, scale, angle, shift, settings.flip and mirror < 0, background)
    return _recolored(moved, *(settings.color * np.array(colors)))


def cut_out(image: Image.Image, mask: Image.Image, background: Color) -> Image.Image:
    """The subject where it is in the image, on plain ground.

    Args:
        image: RGB.
        mask: white where the subject is; of another size only in the same shape.

    Raises:
        ValueError: the mask has another aspect ratio, or is black everywhere.
    """
    if abs(mask.width * image.height - mask.height * image.width) > max(image.size):  # a pixel of the mask
        raise ValueError(
            f"the mask has {mask.width} x {mask.height} pixels and the image {image.width} x {image.height}; "
            "give a mask of the image's shape"
        )
    mask = mask.convert("L")
    if mask.getextrema()[1] == 0:
        raise ValueError("the mask is black everywhere; paint it white where the subject is")
    if mask.size != image.size:
        mask = mask.resize(image.size, Image.Resampling.BILINEAR)
    return Image.composite(image, Image.new("RGB", image.size, background), mask)


def _moved(
    image: Image.Image, scale: float, angle: float, shift: tuple[float, float], mirrored: bool, background: Color
) -> Image.Image:
    """Mirrored, scaled and turned (radians, clockwise) about its middle, then shifted (pixels)."""
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    sign = -1 if mirrored else 1
    a, b, d, e = sign * cos, sign * sin, -sin, cos  # from the view's pixels back to the image's
    middle = (image.width / 2, image.height / 2)
    x, y = middle[0] + shift[0], middle[1] + shift[1]
    coefficients = (a, b, middle[0] - a * x - b * y, d, e, middle[1] - d * x - e * y)
    return image.transform(
        image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC, fillcolor=background
    )


def _recolored(image: Image.Image, brightness: float, contrast: float, saturation: float, hue: float) -> Image.Image:
    """Shares by which brightness, contrast and saturation grow, and by which `HUE` turns about the gray axis."""
    angle = math.radians(HUE * hue)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = np.eye(3) * math.cos(angle) + cross * math.sin(angle) + (1 - math.cos(angle)) / 3  # Rodrigues
    saturate = np.eye(3) * (1 + saturation) - saturation * LUMA
    pixels = np.asarray(image, dtype=np.float64)
    mean = (pixels @ LUMA).mean()
    colors = pixels @ ((1 + contrast) * turn @ saturate).T - contrast * mean
    return Image.fromarray((colors * (1 + brightness)).round().clip(0, 255).astype(np.uint8))
