"""The sizes that clips can be encoded at: the requested size, or with buckets all sizes of about its area."""

import math
from collections.abc import Iterator

from refilm.data.settings import EncodeSettings
from refilm.geometry import Compression

SLIMMEST = 2.5  # largest ratio of the longer side to the shorter side


def sizes(settings: EncodeSettings, compression: Compression) -> list[tuple[int, int]]:
    """Heights and widths in pixels; with buckets, one size for every height that fits the area.

    Raises:
        UserError: the requested frames or size do not fit the autoencoder.
    """
    height, width = settings.height, settings.width
    compression.latent_frames(settings.frames)
    compression.latent_size(height, width)
    if not settings.buckets:
        return [(height, width)]
    return sorted({(height, width), *_like(height, width, compression.space * compression.patch)})


def _like(height: int, width: int, step: int) -> Iterator[tuple[int, int]]:
    """Sizes in multiples of `step` whose area is as close to height x width as possible."""
    for high in range(step, math.isqrt(round(height * width * SLIMMEST)) + step, step):
        wide = max(1, round(height * width / high / step)) * step
        if 1 / SLIMMEST <= wide / high <= SLIMMEST:
            yield high, wide
