"""Masks of subjects in the video, from image and video files to a value per video token.

Letters: F frames, H x W pixels; T, h, w latent frames and pixels; N video tokens.
"""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refilm.control.shot import Shot
from refilm.control.subject import ImageLike
from refilm.data.cutting import fitted
from refilm.errors import UserError
from refilm.media import as_mask, open_video
from refilm.media.masks import gray, require_white
from refilm.media.pooling import pooled
from refilm.media.sampling import sample_video
from refilm.model.tokens import token_means

STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def mask_tokens(mask: ImageLike, shot: Shot) -> Tensor:
    """A mask's mean over each video token, (N,) float32 in 0..1.

    A mask of another shape is scaled and cropped at its center, as clips and their masks are for training. A video with
    another number of frames is read at the frame rate of the shot.

    Args:
        mask: a file, a PIL image, or an array as in `refilm.media.as_mask`.
        shot: the sizes of the video.

    Raises:
        UserError: it cannot be read, has too few frames for the video, or is black.
    """
    pixels = np.stack([fitted(frame, (shot.height, shot.width)) for frame in read_mask(mask, shot)])
    require_white(pixels, _name(mask))
    whole = np.broadcast_to(pixels, (shot.frames, *pixels.shape[1:])) / 255
    latent = torch.from_numpy(pooled(whole, shot.compression))  # (T, h, w)
    return token_means(latent, shot.size).float()


def read_mask(mask: ImageLike, shot: Shot) -> np.ndarray:
    """A mask's frames, (F, H, W) uint8, as many as the video has; one for a still.

    Raises:
        UserError: it cannot be read, has another shape or type, or too few frames.
    """
    if isinstance(mask, Path | str) and Path(mask).suffix.lower() not in STILLS:
        pixels = _from_video(Path(mask), shot)
    else:
        pixels = as_mask(mask)
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
    return gray(pixels)


def _name(mask: ImageLike) -> str:
    return str(mask) if isinstance(mask, Path | str) else "mask"
