"""Picture files to RGB. Knows color, orientation and transparency; knows nothing of what the picture is for."""

import io
import warnings
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
from annotated_types import Interval
from PIL import Image, ImageCms, ImageOps

Byte = Annotated[int, Interval(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MEGAPIXELS = 64  # more are refused before they are decoded
WHITE: Color = (255, 255, 255)
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
AMBIGUOUS = ("I", "F")  # what would be white in 32 bits or floats?


def open_picture(path: Path | str, *, background: Color = WHITE) -> Image.Image:
    """Read a picture as it is meant to be seen: upright, in sRGB, its transparent parts laid on `background`.

    PNG, JPEG, WebP, BMP, GIF (its first frame) and TIFF, recognized by their content.

    Raises:
        ValueError: the file is missing, is no such picture, is damaged or cut short, or has over 64 megapixels.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the path of one picture")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a picture")
    with path.open("rb") as file:
        return _rgb(opened(file, path), str(path), background)


def as_picture(value: Path | str | Image.Image | np.ndarray) -> Image.Image:
    """An RGB picture from a path, a PIL image or an (H, W, 3) uint8 array.

    Raises:
        ValueError: as `open_picture` does, or for anything else than these three.
    """
    if isinstance(value, Path | str):
        return open_picture(value)
    if isinstance(value, Image.Image):
        return _rgb(value, "picture", WHITE)
    if not isinstance(value, np.ndarray):
        raise ValueError(f"a picture must be a path, a PIL image or a numpy array, received {type(value).__name__}")
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or 0 in value.shape:
        raise ValueError(f"a picture must be (H, W, 3) of uint8, 0..255, received {value.shape} of {value.dtype}")
    return Image.fromarray(value)


def pad_to_square(image: Image.Image, background: Color = WHITE) -> Image.Image:
    """The picture, unscaled, in the middle of a square of `background`."""
    width, height = image.size
    side = max(width, height)
    square = Image.new("RGB", (side, side), background)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def border_color(image: Image.Image) -> Color:
    """The median color of an RGB picture's outermost pixels."""
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(border, axis=0)
    return int(red), int(green), int(blue)


def opened(file: BinaryIO, path: Path) -> Image.Image:
    """The picture, known but not decoded yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own cap comes next, and is lower
            return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: more than {MEGAPIXELS} megapixels; give a smaller picture") from error
    except (OSError, SyntaxError, ValueError) as error:
        wanted = ", ".join(FORMATS)
        raise ValueError(f"{path}: not a sound picture of these formats: {wanted}; convert or export it") from error


def _rgb(image: Image.Image, name: str, background: Color) -> Image.Image:
    width, height = image.size
    if width * height > MEGAPIXELS * 10**6:
        raise ValueError(
            f"{name}: {width} x {height} pixels are more than {MEGAPIXELS} megapixels; give a smaller picture"
        )
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"{name}: damaged or cut short ({error}); copy or export it again") from error
    if image.mode in AMBIGUOUS:
        raise ValueError(f"{name}: {image.mode} pixels have no known white; save it with 8 or 16 bits a channel")
    return _opaque(image, background)


def _opaque(image: Image.Image, background: Color) -> Image.Image:
    if image.mode in SIXTEEN_BITS:
        image = Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8))
    if not image.has_transparency_data:
        return _srgb(image)
    profile = image.info.get("icc_profile")
    image = image.convert("RGBA")
    opaque = image.convert("RGB")
    opaque.info["icc_profile"] = profile
    return Image.composite(_srgb(opaque), Image.new("RGB", image.size, background), image.getchannel("A"))


def _srgb(image: Image.Image) -> Image.Image:
    """Through the picture's own color profile where it has a sound one: phones save Display P3, printers CMYK."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert converted is not None
            return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # an unsound profile, or one of another color model: the plain conversion is the best guess
    return image.convert("RGB")
