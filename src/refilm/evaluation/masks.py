"""Masks of the subject beside images and videos: `fox.mask.png` for `fox.png`, `CASE.mask.mp4` for `CASE.mp4`.

Who makes them is the user's choice of a segmenter; refilm only reads them.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from refilm.errors import UserError
from refilm.media import as_mask, open_video
from refilm.media.masks import gray

SUFFIXES = (".mask.png", ".mask.mp4", ".mask.gif")
WHITE = 128
"""Gray value from which on a pixel shows the subject."""


def is_mask(file: Path) -> bool:
    """Whether a file is the mask of another one, by its name."""
    return file.name.endswith(SUFFIXES)


def mask_file(file: Path) -> Path | None:
    """The mask beside an image or a video; None without one."""
    beside = (file.with_name(file.stem + suffix) for suffix in SUFFIXES)
    return next((path for path in beside if path.is_file()), None)


def read_masks(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """A mask of each frame, (F, H, W) bool; a still counts for all frames, and other sizes of one shape are scaled.

    Args:
        path: an image or a video, white where the subject is.
        shape: frames, height and width of what it belongs to.

    Raises:
        UserError: it cannot be read, or has another shape or number of frames.
    """
    masks = as_mask(path) if path.suffix == ".png" else gray(open_video(path).frames)
    frames, height, width = shape
    if masks.shape[1] * width != masks.shape[2] * height or len(masks) not in (1, frames):
        had, wanted = (f"{f} frames of {w} x {h}" for f, h, w in (masks.shape, shape))
        raise UserError(f"{path}: has {had}, but what it belongs to {wanted}; make it again")
    size = width, height
    scaled = np.stack([np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) for mask in masks])
    return np.broadcast_to(scaled >= WHITE, shape)
