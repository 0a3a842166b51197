"""Augment reference images, and cut subjects out along their masks.

An augmentation is one affine resampling and one affine map of the colors. Does not depend on files or encoders.
"""

import math

import numpy as np
from PIL import Image

from refilm.data.settings import AugmentationSettings
from refilm.errors import UserError
from refilm.media.colors import Color

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"
HUE = 36.0  # degrees of hue rotation at color = 1; small, because colors identify the subject


def augment(
    image: Image.Image, settings: AugmentationSettings, rng: np.random.Generator, background: Color
) -> Image.Image:
    """One augmented version of an RGB image, at the image's size; uncovered areas are filled with `background`.

    The same state of `rng` gives the same result; each call takes nine numbers from it, independent of the settings.
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
    """Replace everything but the subject with a plain background.

    Args:
        image: RGB.
        mask: white where the subject is. It may have another size, but must have the same aspect ratio.

    Raises:
        UserError: the mask has another aspect ratio, or is black everywhere.
    """
    if abs(mask.width * image.height - mask.height * image.width) > max(image.size):  # one pixel of the mask
        raise UserError(
            f"the mask has {mask.width} x {mask.height} pixels and the image {image.width} x {image.height}; "
            "use a mask with the image's aspect ratio"
        )
    mask = mask.convert("L")
    if mask.getextrema()[1] == 0:
        raise UserError("the mask is black everywhere; paint it white where the subject is")
    if mask.size != image.size:
        mask = mask.resize(image.size, Image.Resampling.BILINEAR)
    return Image.composite(image, Image.new("RGB", image.size, background), mask)


def _moved(
    image: Image.Image, scale: float, angle: float, shift: tuple[float, float], mirrored: bool, background: Color
) -> Image.Image:
    """Mirror, scale and rotate (radians, clockwise) the image about its center, then shift it (pixels)."""
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    sign = -1 if mirrored else 1
    a, b, d, e = sign * cos, sign * sin, -sin, cos  # from output pixels to input pixels
    middle = (image.width / 2, image.height / 2)
    x, y = middle[0] + shift[0], middle[1] + shift[1]
    coefficients = (a, b, middle[0] - a * x - b * y, d, e, middle[1] - d * x - e * y)
    return image.transform(
        image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC, fillcolor=background
    )


def _recolored(image: Image.Image, brightness: float, contrast: float, saturation: float, hue: float) -> Image.Image:
    """Change brightness, contrast and saturation by these fractions, and rotate the hue by a fraction of `HUE`."""
    angle = math.radians(HUE * hue)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = np.eye(3) * math.cos(angle) + cross * math.sin(angle) + (1 - math.cos(angle)) / 3  # Rodrigues
    saturate = np.eye(3) * (1 + saturation) - saturation * LUMA
    pixels = np.asarray(image, dtype=np.float64)
    mean = (pixels @ LUMA).mean()
    colors = pixels @ ((1 + contrast) * turn @ saturate).T - contrast * mean
    return Image.fromarray((colors * (1 + brightness)).round().clip(0, 255).astype(np.uint8))
