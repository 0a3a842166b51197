"""Perceptual hashes that find near-duplicate images by gradients (dHash, 64 bits) and coarse colors.

Copies that were scaled, compressed or brightened slightly match; cropped or mirrored copies do not.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from typing import NamedTuple

import numpy as np

BITS = 3  # of 64 that may differ: at least one of four 16-bit bands is then equal, and bands find candidates
GRADIENT = 2  # gray levels; smaller differences count as flat
COLOR = 14  # largest difference of a patch, in levels


class ImageHash(NamedTuple):
    """The perceptual hash of an image."""

    gradients: int
    """64 bits, 8 rows of 8: whether the image gets lighter to the right."""
    colors: bytes
    """Red, green and blue of 8 rows of 9 patches."""


def image_hashes(tiny: np.ndarray) -> list[ImageHash]:
    """The hashes of images that have been reduced to (N, 32, 36, 3) uint8."""
    n = len(tiny)
    patches = tiny.reshape(n, 8, 4, 9, 4, 3).mean(axis=(2, 4))  # (n, 8, 9, 3)
    gray = patches.mean(axis=3)  # (n, 8, 9)
    rising = np.packbits((np.diff(gray, axis=2) > GRADIENT).reshape(n, 64), axis=1)  # (n, 8) bytes
    colors = patches.round().astype(np.uint8)
    return [ImageHash(int.from_bytes(rising[i].tobytes()), colors[i].tobytes()) for i in range(n)]


def similar(a: ImageHash, b: ImageHash) -> bool:
    """Whether two images are near-duplicates."""
    return (a.gradients ^ b.gradients).bit_count() <= BITS and _distance(a.colors, b.colors) <= COLOR


def near_duplicates(items: Iterable[tuple[int, Sequence[ImageHash]]]) -> Iterator[tuple[int, int]]:
    """Pairs (item, an earlier item whose images all match). All items have the same number of images.

    Each item of a group of duplicates is compared only with the first one, so the cost is not quadratic.
    """
    bands: dict[tuple[int, int], list[tuple[int, Sequence[ImageHash]]]] = defaultdict(list)
    for number, images in items:
        middle = images[len(images) // 2].gradients
        keys = [(band, middle >> 16 * band & 0xFFFF) for band in range(4)]
        candidates = (candidate for key in keys for candidate in bands[key])
        twin = next(
            (other for other, theirs in candidates if all(starmap(similar, zip(images, theirs, strict=True)))), None
        )
        if twin is not None:
            yield number, twin
        else:
            for key in keys:
                bands[key].append((number, images))


def _distance(a: bytes, b: bytes) -> int:
    return int(np.abs(np.frombuffer(a, np.uint8).astype(int) - np.frombuffer(b, np.uint8)).max())
