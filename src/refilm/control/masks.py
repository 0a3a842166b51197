"""Masks of subjects in the video, from image and video files to a value per video token.

Letters: F frames, H x W pixels; T, h, w latent frames and pixels; N video tokens.
"""

from pathlib import Path

import numpy as np
import torch
from einops import reduce
from PIL import Image
from torch import Tensor

from refilm.control.subject import ImageLike
from refilm.data.cutting import fitted, pooled
from refilm.errors import UserError
from refilm.geometry import Compression, Geometry
from refilm.media import open_mask, open_video

STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def mask_tokens(
    mask: ImageLike, size: Geometry, compression: Compression, *, frames: int, height: int, width: int
) -> Tensor:
    """A mask's mean over each video token, (N,) float32 in 0..1.

    A mask of another shape is scaled and cropped at its center, as clips and their masks are for training.

    Args:
        mask: a file, a PIL image, or an array (H, W), (F, H, W) or (..., 3): uint8, bool, or floats in 0..1.
        size: sizes of the transformer.
        compression: compression factors of the video.
        frames: number of video frames.
        height: video height in pixels.
        width: video width in pixels.

    Raises:
        UserError: it cannot be read, has another number of frames than the video, or is black.
    """
    pixels = read_mask(mask)
    if len(pixels) not in (1, frames):
        raise UserError(
            f"{_name(mask)}: {len(pixels)} frames for a video of {frames}; give one for each frame, or a still"
        )
    images = [fitted(frame, (height, width)) for frame in pixels]
    whole = np.stack(images * (frames if len(images) == 1 else 1)) / 255
    if not whole.any():
        raise UserError(f"{_name(mask)}: is black, so the subject could appear nowhere; paint it white there")
    latent = torch.from_numpy(pooled(whole, compression))  # (T, h, w)
    return reduce(latent, "(t s) (h p) (w q) -> (t h w)", "mean", s=size.patch_time, p=size.patch, q=size.patch).float()


def read_mask(mask: ImageLike) -> np.ndarray:
    """A mask's frames, (F, H, W) uint8; F is 1 for a still.

    Raises:
        UserError: it cannot be read, or has another shape or type.
    """
    if isinstance(mask, Image.Image):
        return np.asarray(mask.convert("L"))[None]
    if isinstance(mask, np.ndarray):
        return _from_array(mask)
    if Path(mask).suffix.lower() in STILLS:
        return np.asarray(open_mask(mask))[None]
    return open_video(mask).frames.mean(axis=3).round().astype(np.uint8)


def _from_array(mask: np.ndarray) -> np.ndarray:
    if mask.ndim in (3, 4) and mask.shape[-1] == 3:
        mask = mask.mean(axis=-1) if mask.dtype.kind == "f" else mask.mean(axis=-1).round().astype(np.uint8)
    if mask.ndim not in (2, 3) or 0 in mask.shape:
        raise UserError(f"mask: an array must be (H, W) or (F, H, W), received {mask.shape}")
    if mask.dtype == bool:
        mask = mask.astype(np.uint8) * 255
    elif mask.dtype.kind == "f" and mask.min() >= 0 and mask.max() <= 1:  # NaN fails, too
        mask = (mask * 255).round().astype(np.uint8)
    if mask.dtype != np.uint8:
        raise UserError(f"mask: an array must be bool, uint8 or floats in 0..1, received {mask.dtype}")
    return mask if mask.ndim == 3 else mask[None]


def _name(mask: ImageLike) -> str:
    return str(mask) if isinstance(mask, Path | str) else "mask"
