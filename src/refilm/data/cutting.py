"""Crop and trim clips to the size and length that the autoencoder accepts, and augment reference images.

Runs in worker processes: imports neither torch nor encoders, and opens one clip or image at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from PIL import Image, ImageOps

from refilm.data.augmentation import augment
from refilm.data.samples import Clip, ImageSource
from refilm.data.settings import AugmentationSettings
from refilm.errors import UserError
from refilm.geometry import Compression
from refilm.media.colors import Color
from refilm.media.images import border_color
from refilm.media.pooling import pooled

Size = tuple[int, int]
"""Height and width."""
VIEWED = 512  # pixels of the shorter side of augmented images; image encoders read fewer


@dataclass(frozen=True)
class CutClip:
    """How to crop and trim a clip.

    `sizes` are the allowed sizes in pixels; a `flexible` clip may have fewer frames than `frames`.
    """

    clip: Clip
    mask: Clip | None
    fps: float
    frames: int
    flexible: bool
    sizes: Sequence[Size]
    compression: Compression

    def __str__(self) -> str:
        return self.clip.name


@dataclass(frozen=True)
class AugmentJob:
    """How to augment an image."""

    image: ImageSource
    settings: AugmentationSettings
    background: Color

    def __str__(self) -> str:
        return self.image.name


def cut_clip(cut: CutClip) -> tuple[np.ndarray, np.ndarray | None]:
    """The clip's pixels (F, H, W, 3) uint8, and the mask's mean over each latent pixel (T, h, w) float32.

    Raises:
        UserError: the clip or its mask cannot be read, is too short, or has changed since it was checked.
    """
    pixels = _pixels(cut.clip, cut)
    frames = length(len(pixels), cut)
    pixels = pixels[:frames]
    cut.clip.verify()
    if cut.mask is None:
        return np.stack(pixels), None
    height, width, _ = pixels[0].shape
    mask = _pixels(cut.mask, cut, size=(height, width))[:frames]
    cut.mask.verify()
    if len(mask) < frames:
        raise UserError(
            f"{cut.mask.name}: the mask has {len(mask)} frames, the clip {frames}; use a mask of the same length"
        )
    return np.stack(pixels), pooled(np.stack(mask).mean(axis=3) / 255, cut.compression)


def augmented_images(job: AugmentJob) -> list[Image.Image]:
    """The unchanged image and its augmented versions; the result is deterministic."""
    image = job.image.load(job.background)
    job.image.verify()
    small = image.reduce(max(1, min(image.size) // VIEWED))
    ground = border_color(image)
    rngs = (_rng(job.image.identity, number) for number in range(job.settings.count))
    return [image, *(augment(small, job.settings, rng, ground) for rng in rngs)]


def nearest_size(height: int, width: int, sizes: Sequence[Size]) -> Size:
    """The size whose aspect ratio is closest to height x width; the largest of equally close ones."""

    def distance(size: Size) -> tuple[float, int]:
        return round(abs(math.log(size[0] * width / (size[1] * height))), 9), -size[0] * size[1]

    return min(sizes, key=distance)


def length(frames: int, cut: CutClip) -> int:
    """How many of a clip's frames are used: `cut.frames`, or for a flexible clip the largest number that fits.

    Raises:
        UserError: the clip has too few frames.
    """
    if frames < (1 if cut.flexible else cut.frames):
        remedy = "use a longer clip" if cut.flexible else "use a longer clip, fewer frames, or buckets"
        raise UserError(
            f"{cut.clip.name}: has {frames} frames at {cut.fps:g} fps, but {cut.frames} are required; {remedy}"
        )
    step = cut.compression.token_frames
    return (min(frames, cut.frames) - 1) // step * step + 1


def fitted(frame: np.ndarray, size: Size) -> np.ndarray:
    """Scale a frame until it covers the size and crop the center.

    Frames that were enlarged by an integer factor are restored exactly: each pixel is the mean of its square.
    """
    height, width = size
    if frame.shape[:2] == size:
        return frame
    shrink = min(frame.shape[0] / height, frame.shape[1] / width)
    method = Image.Resampling.BOX if shrink.is_integer() else Image.Resampling.LANCZOS
    return np.asarray(ImageOps.fit(Image.fromarray(frame), (width, height), method))


def _pixels(clip: Clip, cut: CutClip, size: Size | None = None) -> list[np.ndarray]:
    pixels: list[np.ndarray] = []
    for frame in clip.frames(cut.fps):
        size = size or nearest_size(frame.shape[0], frame.shape[1], cut.sizes)
        pixels.append(fitted(frame, size))
        if len(pixels) == cut.frames:
            break
    return pixels


def _rng(identity: str, number: int) -> np.random.Generator:
    return np.random.default_rng((int.from_bytes(sha256(identity.encode()).digest()[:16]), number))
