"""Masks as gray frames, white where the subject is, from files, PIL images and arrays."""

from pathlib import Path

import numpy as np
from PIL import Image

from refilm.arguments import checked
from refilm.errors import UserError
from refilm.media.colors import BLACK
from refilm.media.images import open_image, shown_image

CHANNELS = (1, 3, 4)  # gray, RGB, RGBA
LUMA = np.array([19595, 38470, 7471], np.uint32)  # of ITU-R BT.601 in 1/65536, as Pillow converts RGB to gray


@checked
def open_mask(path: Path | str) -> Image.Image:
    """Read a mask, white where the subject is: gray values ("L") as stored; transparent parts are black.

    Raises:
        UserError: as `open_image`.
    """
    return open_image(path, background=BLACK).convert("L")


def as_mask(mask: Path | str | Image.Image | np.ndarray) -> np.ndarray:
    """A mask's gray frames, (F, H, W) uint8; one for a still.

    Args:
        mask: the file of a still, a PIL image, or an array (H, W) or (F, H, W), optionally with 1, 3 or 4 channels
            last: bool, uint8 in 0..255, or floats in 0..1. Transparent parts are black.

    Raises:
        UserError: it cannot be read, or is none of these.
    """
    if isinstance(mask, Path | str):
        return np.asarray(open_mask(mask))[None]
    if isinstance(mask, Image.Image):
        return np.asarray(shown_image(mask, "mask", BLACK).convert("L"))[None]
    if not isinstance(mask, np.ndarray):
        raise UserError(f"a mask must be a path, a PIL image or a numpy array, received {type(mask).__name__}")
    whole = _in_bytes(mask)
    if whole.ndim > 2 and whole.shape[-1] in CHANNELS:
        whole = gray(whole)
    if whole.ndim not in (2, 3) or 0 in whole.shape:
        raise UserError(f"mask: an array must be (H, W) or (F, H, W), received {mask.shape}")
    return whole if whole.ndim == 3 else whole[None]


def require_white(mask: np.ndarray, name: str) -> None:
    """Refuse a mask (uint8) that shows the subject nowhere.

    Raises:
        UserError: it is black, or was written with 1 as white.
    """
    if mask.max() == 0:
        raise UserError(f"{name}: is black; paint it white where the subject is")
    if mask.max() == 1:
        raise UserError(f"{name}: is 0 and 1, almost black; white is 255, so multiply it by 255 (or give a bool array)")


def gray(pixels: np.ndarray) -> np.ndarray:
    """(..., C) uint8 of 1, 3 or 4 channels -> (...) uint8; transparent pixels are black."""
    if pixels.shape[-1] == 1:
        return pixels[..., 0]
    value = (pixels[..., :3] @ LUMA + 0x8000) >> 16
    return (value if pixels.shape[-1] == 3 else (value * pixels[..., 3] + 127) // 255).astype(np.uint8)


def _in_bytes(mask: np.ndarray) -> np.ndarray:
    if mask.dtype == bool:
        return mask.astype(np.uint8) * 255
    if mask.dtype.kind == "f" and mask.size and mask.min() >= 0 and mask.max() <= 1:  # NaN fails, too
        return (mask * 255).round().astype(np.uint8)
    if mask.dtype != np.uint8:
        raise UserError(f"mask: an array must be bool, uint8 or floats in 0..1, received {mask.dtype}")
    return mask
