"""Image files to RGB. Knows orientation and transparency; knows nothing of what the image is for."""

import os
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
from annotated_types import Interval
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from refilm.arguments import checked
from refilm.media.profiles import CICP, in_srgb

Byte = Annotated[int, Interval(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MEGAPIXELS = 64  # more are refused before they are decoded, and no square is larger
SLIMMEST = 10  # the longer side over the shorter; encoders see squares, in which less than a tenth is nothing
SCANS = 1024  # megapixels that a progressive JPEG may make its decoder go through, all of its scans counted
WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
AMBIGUOUS = ("I", "F")  # what would be white in 32 bits or floats?


@dataclass(frozen=True)
class Shown:
    """An image as it is meant to be seen, and what was done for that."""

    image: Image.Image
    """RGB."""
    colors: str = ""
    """The colors it was converted from; empty: it was taken for sRGB."""
    doubt: str = ""
    """Why its colors may be wrong."""
    transparent: bool = False


@checked
def open_image(path: Path | str, *, background: Color = WHITE) -> Image.Image:
    """Read an image as it is meant to be seen: upright, in sRGB, its transparent parts laid on `background`.

    PNG, JPEG, WebP, BMP, GIF and TIFF, recognized by their content; of several images in a file, the first.

    Transparency is mixed with the background pixel by pixel, as the file stores it and before anything is scaled, so
    that soft edges get no seam. Premultiplied TIFFs are told apart by their tags; other formats have none.

    Raises:
        ValueError: the file is missing, is no such image, is damaged or cut short, has over 64 megapixels, or a side
            ten times as long as the other.
    """
    path = Path(path)
    return show(path, background).image


@checked
def open_mask(path: Path | str) -> Image.Image:
    """Read a mask, white where the subject is: its grays ("L") as they are stored; what is transparent is black.

    Raises:
        ValueError: as `open_image`.
    """
    return open_image(path, background=BLACK).convert("L")


def as_image(value: Path | str | Image.Image | np.ndarray) -> Image.Image:
    """An RGB image from a path, a PIL image or an (H, W, 3) uint8 array.

    Raises:
        ValueError: as `open_image` does, or for anything else than these three.
    """
    if isinstance(value, Path | str):
        return open_image(value)
    if isinstance(value, Image.Image):
        return _shown(value, "image", WHITE).image
    if not isinstance(value, np.ndarray):
        raise ValueError(f"an image must be a path, a PIL image or a numpy array, received {type(value).__name__}")
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or 0 in value.shape:
        raise ValueError(f"an image must be (H, W, 3) of uint8, 0..255, received {value.shape} of {value.dtype}")
    image = Image.fromarray(value)
    _bounded(image, "image")
    return image


def pad_to_square(image: Image.Image, background: Color = WHITE) -> Image.Image:
    """The image in the middle of a square of `background`, unscaled; a square of over 64 megapixels is scaled down."""
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


def show(path: Path, background: Color) -> Shown:
    """As `open_image`, with an account of what was done."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the path of one image")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of an image")
    with path.open("rb") as file:
        return _shown(opened(file, path), str(path), background)


def opened(file: BinaryIO, path: Path) -> Image.Image:
    """The image, known but not decoded yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own cap comes next, and is lower
            image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: more than {MEGAPIXELS} megapixels; give a smaller image") from error
    except (OSError, SyntaxError, ValueError) as error:
        wanted = ", ".join(FORMATS)
        raise ValueError(f"{path}: not a sound image of these formats: {wanted}; convert or export it") from error
    _bounded(image, str(path))
    place = file.tell()
    if image.format in ("JPEG", "MPO"):
        _bound_scans(image, file, path)
    elif image.format == "PNG":
        image.info |= _png_says(file)
    file.seek(place)
    return image


def _bounded(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MEGAPIXELS * 10**6:
        raise ValueError(
            f"{name}: {width} x {height} pixels are more than {MEGAPIXELS} megapixels; give a smaller image"
        )
    if max(width, height) > SLIMMEST * min(width, height):
        raise ValueError(
            f"{name}: {width} x {height} pixels are too slim, at most {SLIMMEST} times as long as wide; cut it"
        )


def _bound_scans(image: Image.Image, file: BinaryIO, path: Path) -> None:
    """A file of 0.3 MB can make its decoder go through 64 megapixels hundreds of times."""
    file.seek(0)
    scans = sum(part.count(b"\xff\xda") for part in iter(partial(file.read, 1 << 20), b""))
    if scans * image.width * image.height > SCANS * 10**6:
        raise ValueError(f"{path}: a progressive JPEG of {scans} scans takes too long; save it as a plain one")


def _png_says(file: BinaryIO) -> dict[str, tuple[int, ...] | int]:
    """What Pillow does not read of a PNG, or not in the pixels' own terms: cICP, and a transparent color (tRNS)."""
    says: dict[str, tuple[int, ...] | int] = {}
    file.seek(24)
    bits, kind = file.read(2)
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length = int.from_bytes(head[:4], "big")
        content = file.read(min(length, 6))
        if head[4:] == b"cICP" and len(content) == 4:
            says[CICP] = tuple(content)
        elif head[4:] == b"tRNS" and kind == 0 and bits in (2, 4):  # gray, which Pillow widens to 8 bits
            says["transparency"] = int.from_bytes(content[:2], "big") % 2**bits * (255 // (2**bits - 1))
        elif head[4:] == b"tRNS" and kind == 2 and bits == 16 and len(content) == 6:  # it keeps the upper bytes
            says["transparency"] = tuple(content[::2])
        file.seek(length - len(content) + 4, os.SEEK_CUR)
    return says


def _shown(image: Image.Image, name: str, background: Color) -> Shown:
    _bounded(image, name)
    depth, negative = _gray_of(image)
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"{name}: damaged or cut short ({error}); copy or export it again") from error
    if image.mode in AMBIGUOUS:
        raise ValueError(f"{name}: {image.mode} pixels have no known white; save it with 8 or 16 bits a channel")
    if image.mode in SIXTEEN_BITS:
        image = _eight_bits(image, depth, negative)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    image, colors, doubt = in_srgb(image if alpha is None else _without_alpha(image))
    if alpha is None or alpha.getextrema() == (255, 255):
        return Shown(image, colors, doubt)
    return Shown(Image.composite(image, Image.new("RGB", image.size, background), alpha), colors, doubt, True)


def _without_alpha(image: Image.Image) -> Image.Image:
    """The colors alone, in the kind of pixels that a profile speaks of."""
    opaque = image.convert("RGBA").convert("L" if image.mode in ("L", "LA", "La", "1") else "RGB")
    opaque.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return opaque


def _gray_of(image: Image.Image) -> tuple[int, bool]:
    """Bits of a gray deeper than 8, and whether 0 is white: of TIFF, whose deep grays Pillow gives as they are."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = tags.get(BITS, (16,))[0]
    return bits, tags.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _eight_bits(image: Image.Image, depth: int, negative: bool) -> Image.Image:
    """Gray of 12 or 16 bits; one value of it can be transparent."""
    pixels = np.asarray(image)
    small = (pixels * np.float32(255 / (2**depth - 1))).round().clip(0, 255).astype(np.uint8)
    small = Image.fromarray(255 - small if negative else small)
    if isinstance(clear := image.info.get("transparency"), int):
        alpha = Image.fromarray(np.where(pixels == clear, 0, 255).astype(np.uint8))
        small = Image.merge("LA", (small, alpha))
    small.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return small
