"""Read image files as RGB, with orientation, colors and transparency applied."""

import os
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from refilm.arguments import checked
from refilm.errors import UserError
from refilm.media.colors import WHITE, Color
from refilm.media.profiles import CICP, in_srgb

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MEGAPIXELS = 64  # larger images are refused before they are decoded, and squares are not larger
SLIMMEST = (
    10  # largest ratio of the longer side to the shorter side; encoders read squares, in which slimmer images vanish
)
SCANS = 1024  # megapixels that a progressive JPEG may decode, summed over all scans
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
AMBIGUOUS = ("I", "F")  # 32-bit integers and floats: the value of white is unknown


@dataclass(frozen=True)
class ConvertedImage:
    """An image as it is meant to be displayed, and the conversions that were applied."""

    image: Image.Image
    """RGB."""
    colors: str = ""
    """The color space it was converted from; empty: it was read as sRGB."""
    doubt: str = ""
    """The reason why its colors may be wrong."""
    transparent: bool = False


@checked
def open_image(path: Path | str, *, background: Color = WHITE) -> Image.Image:
    """Read an image as it is meant to be displayed: upright, in sRGB, with transparent parts on `background`.

    PNG, JPEG, WebP, BMP, GIF and TIFF are recognized by their content; of several images in a file, the first is read.

    Transparency is blended with the background pixel by pixel before any scaling, so soft edges have no seam.
    Premultiplied TIFFs are recognized by their tags; other formats have straight alpha.

    Raises:
        UserError: the file is missing, is not an image in these formats, is damaged or truncated, has more than 64
            megapixels, or one side is more than ten times as long as the other.
    """
    path = Path(path)
    return read_image(path, background).image


def as_image(value: Path | str | Image.Image | np.ndarray) -> Image.Image:
    """An RGB image from a path, a PIL image or an (H, W, 3) uint8 array.

    Raises:
        UserError: as `open_image`, or the value is none of these three.
    """
    if isinstance(value, Path | str):
        return open_image(value)
    if isinstance(value, Image.Image):
        return shown_image(value, "image", WHITE)
    if not isinstance(value, np.ndarray):
        raise UserError(f"an image must be a path, a PIL image or a numpy array, received {type(value).__name__}")
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or 0 in value.shape:
        raise UserError(f"an image must be (H, W, 3) of uint8, 0..255, received {value.shape} of {value.dtype}")
    image = Image.fromarray(value)
    _bounded(image, "image")
    return image


def shown_image(image: Image.Image, name: str, background: Color) -> Image.Image:
    """A PIL image in RGB, converted as `open_image` converts those of files; `name` is its name in errors."""
    return _shown(image, name, background).image


def pad_to_square(image: Image.Image, background: Color = WHITE) -> Image.Image:
    """Center the image on a square of `background`, unscaled unless the square would exceed 64 megapixels."""
    factor = -(-max(image.size) // int((MEGAPIXELS * 10**6) ** 0.5))
    image = image.reduce(factor) if factor > 1 else image
    width, height = image.size
    side = max(width, height)
    square = Image.new("RGB", (side, side), background)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def border_color(image: Image.Image) -> Color:
    """The median color of an RGB image's outermost pixels."""
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(border, axis=0)
    return int(red), int(green), int(blue)


def read_image(path: Path, background: Color) -> ConvertedImage:
    """Read an image as `open_image` does, and report the conversions."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; use the path of an image")
    if not path.is_file():
        raise UserError(f"{path}: no such file; use the path of an image")
    with path.open("rb") as file:
        return _shown(opened(file, path), str(path), background)


def opened(file: BinaryIO, path: Path) -> Image.Image:
    """Open an image without decoding it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
            image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: has more than {MEGAPIXELS} megapixels; use a smaller image") from error
    except (OSError, SyntaxError, ValueError) as error:
        wanted = ", ".join(FORMATS)
        raise UserError(f"{path}: not a valid image in a supported format ({wanted}); convert or export it") from error
    _bounded(image, str(path))
    place = file.tell()
    if image.format in ("JPEG", "MPO"):
        _bound_scans(image, file, path)
    elif image.format == "PNG":
        image.info |= _png_chunks(file)
    file.seek(place)
    return image


def _bounded(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MEGAPIXELS * 10**6:
        raise UserError(f"{name}: {width} x {height} pixels are more than {MEGAPIXELS} megapixels; use a smaller image")
    if max(width, height) > SLIMMEST * min(width, height):
        raise UserError(
            f"{name}: {width} x {height} pixels are too narrow (aspect ratio at most {SLIMMEST}:1); crop it"
        )


def _bound_scans(image: Image.Image, file: BinaryIO, path: Path) -> None:
    """Refuse progressive JPEGs with too many scans: 0.3 MB can decode to 64 megapixels hundreds of times."""
    file.seek(0)
    scans = sum(part.count(b"\xff\xda") for part in iter(partial(file.read, 1 << 20), b""))
    if scans * image.width * image.height > SCANS * 10**6:
        raise UserError(
            f"{path}: a progressive JPEG with {scans} scans takes too long to decode; save it as a baseline JPEG"
        )


def _png_chunks(file: BinaryIO) -> dict[str, tuple[int, ...] | int]:
    """The PNG chunks that Pillow does not read, or not at the pixels' bit depth: cICP and transparent color (tRNS)."""
    chunks: dict[str, tuple[int, ...] | int] = {}
    file.seek(24)
    bits, kind = file.read(2)
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length = int.from_bytes(head[:4], "big")
        content = file.read(min(length, 6))
        if head[4:] == b"cICP" and len(content) == 4:
            chunks[CICP] = tuple(content)
        elif head[4:] == b"tRNS" and kind == 0 and bits in (2, 4):  # gray, which Pillow expands to 8 bits
            chunks["transparency"] = int.from_bytes(content[:2], "big") % 2**bits * (255 // (2**bits - 1))
        elif head[4:] == b"tRNS" and kind == 2 and bits == 16 and len(content) == 6:  # Pillow keeps the upper bytes
            chunks["transparency"] = tuple(content[::2])
        file.seek(length - len(content) + 4, os.SEEK_CUR)
    return chunks


def _shown(image: Image.Image, name: str, background: Color) -> ConvertedImage:
    _bounded(image, name)
    depth, negative = _gray_of(image)
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{name}: damaged or truncated ({error}); copy or export it again") from error
    if image.mode in AMBIGUOUS:
        raise UserError(
            f"{name}: the white level of {image.mode} pixels is unknown; save it with 8 or 16 bits per channel"
        )
    if image.mode in SIXTEEN_BITS:
        image = _eight_bits(image, depth, negative)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    image, colors, doubt = in_srgb(image if alpha is None else _without_alpha(image))
    if alpha is None or alpha.getextrema() == (255, 255):
        return ConvertedImage(image, colors, doubt)
    return ConvertedImage(Image.composite(image, Image.new("RGB", image.size, background), alpha), colors, doubt, True)


def _without_alpha(image: Image.Image) -> Image.Image:
    """The image without alpha, in a mode that color profiles support."""
    opaque = image.convert("RGBA").convert("L" if image.mode in ("L", "LA", "La", "1") else "RGB")
    opaque.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return opaque


def _gray_of(image: Image.Image) -> tuple[int, bool]:
    """Bit depth of gray TIFFs deeper than 8 bits, which Pillow does not convert, and whether 0 is white."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = tags.get(BITS, (16,))[0]
    return bits, tags.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _eight_bits(image: Image.Image, depth: int, negative: bool) -> Image.Image:
    """Convert 12- or 16-bit gray to 8 bits; one gray value can be transparent."""
    pixels = np.asarray(image)
    small = (pixels * np.float32(255 / (2**depth - 1))).round().clip(0, 255).astype(np.uint8)
    small = Image.fromarray(255 - small if negative else small)
    if isinstance(clear := image.info.get("transparency"), int):
        alpha = Image.fromarray(np.where(pixels == clear, 0, 255).astype(np.uint8))
        small = Image.merge("LA", (small, alpha))
    small.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return small
