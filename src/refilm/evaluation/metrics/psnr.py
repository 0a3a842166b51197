"""Peak signal-to-noise ratio."""

import numpy as np
from numpy.typing import ArrayLike

from refilm.errors import UserError


def psnr(a: ArrayLike, b: ArrayLike, *, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB over all elements; infinite for equal arrays.

    Args:
        a: an image or a video.
        b: another one of the same shape.
        peak: the range of their values: 255 for uint8, 1 for 0..1, 2 for -1..1.

    Raises:
        UserError: the shapes differ.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise UserError(f"a and b must have the same shape, received {a.shape} and {b.shape}")
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))
