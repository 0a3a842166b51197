"""When do two images look the same? By their gradients (dHash, 64 bits) and their colors, coarsely.

Copies that were scaled, compressed or made a little lighter look the same; cut or mirrored ones do not.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from typing import NamedTuple

import numpy as np

BITS = 3  # that may differ, of 64: so one of four bands of 16 bits is always equal, and bands find candidates
GRADIENT = 2  # gray levels; less is flat
COLOR = 14  # levels that a patch may differ by


class Look(NamedTuple):
    """How an image looks."""

    gradients: int
    """64 bits: whether it grows lighter to the right, in 8 rows of 8."""
    colors: bytes
    """Red, green and blue in 8 rows of 9 patches."""


def looks(tiny: np.ndarray) -> list[Look]:
    """The looks of images that are small already, (N, 32, 36, 3) uint8."""
    n = len(tiny)
    patches = tiny.reshape(n, 8, 4, 9, 4, 3).mean(axis=(2, 4))  # (n, 8, 9, 3)
    gray = patches.mean(axis=3)  # (n, 8, 9)
    rising = np.packbits((np.diff(gray, axis=2) > GRADIENT).reshape(n, 64), axis=1)  # (n, 8) bytes
    colors = patches.round().astype(np.uint8)
    return [Look(int.from_bytes(rising[i].tobytes()), colors[i].tobytes()) for i in range(n)]


def same(a: Look, b: Look) -> bool:
    """Whether two images look the same."""
    return (a.gradients ^ b.gradients).bit_count() <= BITS and _distance(a.colors, b.colors) <= COLOR


def twins(items: Iterable[tuple[int, Sequence[Look]]]) -> Iterator[tuple[int, int]]:
    """Pairs (item, an earlier one that looks the same in every image). Items have as many images each.

    Of many that look the same each is compared with the first alone, so nothing grows with the square of their number.
    """
    bands: dict[tuple[int, int], list[tuple[int, Sequence[Look]]]] = defaultdict(list)
    for number, images in items:
        middle = images[len(images) // 2].gradients
        keys = [(band, middle >> 16 * band & 0xFFFF) for band in range(4)]
        candidates = (candidate for key in keys for candidate in bands[key])
        twin = next(
            (other for other, theirs in candidates if all(starmap(same, zip(images, theirs, strict=True)))), None
        )
        if twin is not None:
            yield number, twin
        else:
            for key in keys:
                bands[key].append((number, images))


def _distance(a: bytes, b: bytes) -> int:
    return int(np.abs(np.frombuffer(a, np.uint8).astype(int) - np.frombuffer(b, np.uint8)).max())
