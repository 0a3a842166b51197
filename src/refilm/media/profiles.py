"""Convert images to sRGB by their color metadata: PNG cICP, ICC profiles, PNG gAMA and cHRM, EXIF Adobe RGB.

The metadata has this priority in the PNG standard and in browsers. Works on PIL images, not on files.
"""

import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from refilm.media.color import ADOBE, BT709, Colors, Primaries, declared_colors, to_srgb

CICP = "cicp"  # key of the four values of a PNG's cICP chunk in an image's `info`
SRGB_GAMMA = 0.45455
NEAR = 0.02  # tolerance of gamma and chromaticities, which files in sRGB round
PHOTO, INTEROPERABILITY, COLOR_SPACE = 0x8769, 0xA005, 0xA001  # EXIF


class Converted(NamedTuple):
    """An image in sRGB."""

    image: Image.Image
    """RGB."""
    colors: str = ""
    """The original color space; empty: it was read as sRGB."""
    doubt: str = ""
    """The reason why the colors may be wrong."""


def in_srgb(image: Image.Image) -> Converted:
    """Convert an opaque image, of any mode with up to 8 bits, to sRGB."""
    profile = image.info.get("icc_profile")
    if colors := _cicp(image):
        doubt = f"is HDR ({colors.name}); it is tone-mapped to SDR with compressed highlights" if colors.hdr else ""
        return Converted(_by_light(image, colors), colors.name, doubt)
    if image.mode == "LAB":
        return Converted(image.convert("RGB"), "LAB")
    if profile and CICP not in image.info:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return Converted(_by_profile(_profiled(image), source), name_of(profile))
        except (ImageCms.PyCMSError, OSError, ValueError):
            return Converted(image.convert("RGB"), doubt="has an invalid color profile; it is read as sRGB")
    colors = None if "srgb" in image.info or CICP in image.info else _gamma(image) or _exif(image)
    if colors:
        return Converted(_by_light(image, colors), colors.name)
    doubt = "is CMYK without a color profile, so its colors are only approximate" if image.mode == "CMYK" else ""
    return Converted(image.convert("RGB"), doubt=doubt)


def name_of(profile: bytes) -> str:
    """The name of an ICC profile; empty for sRGB."""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "damaged"
    name = "".join(letter for letter in name if letter.isprintable())[:60].strip()  # untrusted text
    return "" if name.startswith("sRGB") else name or "a color profile"


def _by_profile(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted


def _by_light(image: Image.Image, colors: Colors) -> Image.Image:
    return Image.fromarray(to_srgb(np.asarray(image.convert("RGB")), colors))


def _profiled(image: Image.Image) -> Image.Image:
    """Convert to a mode that color profiles support."""
    return image if image.mode in ("RGB", "L", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")


def _cicp(image: Image.Image) -> Colors | None:
    primaries, transfer = image.info.get(CICP, (2, 2, 0, 1))[:2]
    return declared_colors(transfer, primaries)


def _gamma(image: Image.Image) -> Colors | None:
    gamma: float = image.info.get("gamma", SRGB_GAMMA)
    white_first = image.info.get("chromaticity")
    primaries: Primaries = (*white_first[2:], *white_first[:2]) if white_first else BT709
    usual_gamma = abs(gamma - SRGB_GAMMA) < NEAR
    usual = all(abs(one - other) < NEAR / 4 for one, other in zip(primaries, BT709, strict=True))
    if (usual_gamma and usual) or not 0.1 < gamma <= 10 or 0 in primaries[1::2]:
        return None
    curve = "" if usual_gamma else f"gamma {gamma:g}"
    name = ", ".join(filter(None, [curve, "" if usual else "primaries of its own"]))
    return Colors(name, "SDR" if usual_gamma else "gamma", primaries, 1 / gamma)


def _exif(image: Image.Image) -> Colors | None:
    """Adobe RGB as declared by cameras that write no profile (DCF 2.0, "R03")."""
    try:
        exif = image.getexif()
        photo = exif.get_ifd(PHOTO)
        marked = INTEROPERABILITY in photo and exif.get_ifd(INTEROPERABILITY).get(1) == "R03"
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):  # damaged EXIF is ignored
        return None
    return Colors("Adobe RGB", "gamma", ADOBE, 563 / 256) if marked and photo.get(COLOR_SPACE) != 1 else None
