"""Which frames of a video are scored, and the part of a frame that shows the subject."""

import numpy as np
from PIL import Image

FRAMES = 32
"""Number of frames that metrics with an image encoder score at most, as in OpenS2V (arXiv 2505.20292)."""
GRAY = (127, 127, 127)


def spaced(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` of `count` frames, evenly spaced from the first to the last and rounded down."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(int)


def frames_rule(most: int) -> str:
    """The frames that `spaced` chooses, in words, for the identity of a metric."""
    return f"at most {most} frames, evenly spaced from the first to the last, rounded down"


def segment(image: np.ndarray, mask: np.ndarray) -> Image.Image | None:
    """The subject alone on a gray square whose side is the longer one of its bounding box; None for an empty mask.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool, true where the subject is.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = np.where(mask[box][..., None], image[box], np.uint8(GRAY[0]))
    side = max(part.shape[:2])
    square = Image.new("RGB", (side, side), GRAY)
    square.paste(Image.fromarray(part), ((side - part.shape[1]) // 2, (side - part.shape[0]) // 2))
    return square
