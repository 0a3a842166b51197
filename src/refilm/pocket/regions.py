"""Regions of critters in a video: connected pixels of the finder, over all frames, split by shape.

Critters that touch are separated by their shapes; two of the same shape that touch are one region.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from refilm.arguments import checked
from refilm.pocket.finder import CLASSES

SMALLEST = 0.01  # of a frame's area: what a critter must cover in some frame; the smallest real ones cover 0.02
FEWEST = 0.15  # of a region's pixels in a frame: what a shape must have to count as a critter of its own there


@dataclass(frozen=True)
class Region:
    """One critter in a video."""

    shape: str
    """The shape that the finder sees."""
    masks: np.ndarray
    """(F, H, W) bool: the critter's pixels in each frame."""


@checked
def regions(probabilities: np.ndarray) -> list[Region]:
    """The critters in a video, largest first.

    A region that shows several shapes at the same time in at least half of its frames is divided between them. Regions
    of the same shape that have no frame in common are one critter.

    Args:
        probabilities: (F, 9, H, W), from `Finder.find`.
    """
    parts: list[Region] = []
    for component in _connected(probabilities.argmax(1) > 0):
        parts += _split(probabilities, component)
    joined: list[Region] = []
    for part in sorted(parts, key=lambda one: -int(one.masks.sum())):
        earlier = next((i for i, one in enumerate(joined) if _continues(one, part)), None)
        if earlier is None:
            joined.append(part)
        else:
            joined[earlier] = Region(part.shape, joined[earlier].masks | part.masks)
    return sorted(joined, key=lambda one: -int(one.masks.sum()))


def _connected(shown: np.ndarray) -> Iterator[np.ndarray]:
    """Each connected component of (F, H, W) that is large enough; pixels connect to all 26 neighbors."""
    inside = torch.from_numpy(shown)[None].float()  # (1, F, H, W)
    numbers = torch.arange(1, inside.numel() + 1, dtype=torch.float32).view_as(inside) * inside
    while not torch.equal(spread := F.max_pool3d(numbers, 3, stride=1, padding=1) * inside, numbers):
        numbers = spread  # each pixel takes the largest number of its neighbors
    for number in numbers.unique()[1:]:
        if _large(component := (numbers[0] == number).numpy()):
            yield component


def _large(masks: np.ndarray) -> bool:
    return bool(masks.mean((1, 2)).max() >= SMALLEST)


def _split(probabilities: np.ndarray, component: np.ndarray) -> list[Region]:
    """The critters in a connected component."""
    found = probabilities.argmax(1)
    counts = np.stack([((found == one) & component).sum((1, 2)) for one in range(1, len(CLASSES))], axis=1)  # (F, 8)
    counts = counts[counts.any(1)]
    often = (counts >= FEWEST * counts.sum(1, keepdims=True)).mean(0) >= 0.5
    kept = 1 + (np.flatnonzero(often) if often.sum() > 1 else counts.sum(0).argmax(keepdims=True))
    best = kept[probabilities[:, kept].argmax(1)]  # (F, H, W): the class among those kept
    masks = {CLASSES[one]: component & (best == one) for one in kept}
    return [Region(shape, mask) for shape, mask in masks.items() if _large(mask)]


def _continues(one: Region, other: Region) -> bool:
    """Whether both can be the same critter, which is not found in some frames between them."""
    return one.shape == other.shape and not (one.masks.any((1, 2)) & other.masks.any((1, 2))).any()
