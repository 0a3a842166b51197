"""Masks of subjects in the video, from image and video files to a value per video token.

Letters: F frames, H x W pixels; T, h, w latent frames and pixels; N video tokens.
"""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from refilm.control.shot import Shot
from refilm.control.subject import ImageLike
from refilm.data.cutting import fitted, pooled
from refilm.errors import UserError
from refilm.media import open_mask, open_video
from refilm.media.sampling import sample_video
from refilm.model.tokens import token_means

STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def mask_tokens(mask: ImageLike, shot: Shot) -> Tensor:
    """A mask's mean over each video token, (N,) float32 in 0..1.

    A mask of another shape is scaled and cropped at its center, as clips and their masks are for training. A video with
    another number of frames is read at the frame rate of the shot.

    Args:
        mask: a file, a PIL image, or an array (H, W), (F, H, W) or (..., 3): uint8, bool, or floats in 0..1.
        shot: the sizes of the video.

    Raises:
        UserError: it cannot be read, has too few frames for the video, or is black.
    """
    pixels = read_mask(mask, shot)
    images = [fitted(frame, (shot.height, shot.width)) for frame in pixels]
    whole = np.stack(images * (shot.frames if len(images) == 1 else 1)) / 255
    if not whole.any():
        raise UserError(f"{_name(mask)}: is black, so the subject could appear nowhere; paint it white there")
    latent = torch.from_numpy(pooled(whole, shot.compression))  # (T, h, w)
    return token_means(latent, shot.size).float()


def read_mask(mask: ImageLike, shot: Shot) -> np.ndarray:
    """A mask's frames, (F, H, W) uint8, as many as the video has; one for a still.

    Raises:
        UserError: it cannot be read, has another shape or type, or too few frames.
    """
    if isinstance(mask, Image.Image):
        return np.asarray(mask.convert("L"))[None]
    if isinstance(mask, np.ndarray):
        pixels = _from_array(mask)
    elif Path(mask).suffix.lower() in STILLS:
        return np.asarray(open_mask(mask))[None]
    else:
        pixels = _from_video(Path(mask), shot)
    if len(pixels) not in (1, shot.frames):
        raise UserError(
            f"{_name(mask)}: {len(pixels)} frames for a video of {shot.frames} at {shot.fps:g} fps; give one for each "
            "frame, or a still"
        )
    return pixels


def _from_video(path: Path, shot: Shot) -> np.ndarray:
    pixels = open_video(path).frames
    if len(pixels) not in (1, shot.frames):
        pixels = np.stack([*islice(sample_video(path, fps=shot.fps), shot.frames)])
        if path.suffix.lower() == ".gif":  # equal frames are stored as one, and the duration of the last is not read
            pixels = np.pad(pixels, ((0, shot.frames - len(pixels)), *[(0, 0)] * 3), mode="edge")
    return pixels.mean(axis=3).round().astype(np.uint8)


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
