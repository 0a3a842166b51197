"""Sample videos at another frame rate by choosing the frames nearest in time.

Frames are decoded one by one and released, so memory does not depend on the length of the file.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from refilm.errors import UserError
from refilm.media.opening import reading, timed_frames

Frame = TypeVar("Frame")
TOLERANCE = 1e-6  # seconds; halfway between two frames the earlier one is chosen, independent of rounding


def sample_video(
    path: Path, *, fps: float, start: float | None = None, end: float | None = None
) -> Iterator[np.ndarray]:
    """Frames of a video at `fps` frames per second, as they are meant to be displayed: (H, W, 3) uint8 each.

    Args:
        fps: the requested frame rate, independent of the file's.
        start, end: seconds from the first frame. The first frame is the one nearest to `start`; `end` is excluded.

    Raises:
        UserError: the file is missing, is not a video, is damaged or truncated, or its frame size changes. It can be
            raised at the start or while frames are read.
    """
    first, last = start or 0.0, math.inf if end is None else end
    if not 0 <= first < last:
        raise UserError(f"{path}: start and end must be seconds, 0 <= start < end, received {start} and {end}")
    shape = None
    with reading(path) as video:
        for frame, repeats in nearest(
            timed_frames(video, first), fps=fps, start=first, end=last, half=0.5 / video.rate
        ):
            pixels = video.pixels(frame)
            if shape is not None and pixels.shape != shape:
                raise UserError(f"{path}: the frame size changes; use a video with one size")
            shape = pixels.shape
            for _ in range(repeats):
                yield pixels


def nearest(
    timed: Iterator[tuple[float, Frame]], *, fps: float, start: float, end: float, half: float
) -> Iterator[tuple[Frame, int]]:
    """The frames nearest to start, start + 1/fps, ..., each with its number of repetitions; frames are sorted by time.

    The last frame lasts `half` seconds; no sampled time is later than `half` seconds before `end`.
    """
    taken = 0

    def until(time: float) -> int:
        """Number of further sampled times up to `time`, without those at the very end."""
        limit = end - half - TOLERANCE
        last = (
            math.floor((min(time, limit) - start) * fps) + 1
        )  # not counted one by one, because a file can declare years
        while last >= taken and not (start + last / fps <= time and start + last / fps < limit):
            last -= 1
        return max(0, last - taken + 1)

    before: tuple[float, Frame] | None = None
    for time, frame in timed:
        if before is not None:
            if time <= before[0]:  # not sorted: a damaged file
                continue
            if repeats := until((before[0] + time) / 2 + TOLERANCE):
                yield before[1], repeats
                taken += repeats
            if start + taken / fps >= end - half - TOLERANCE:
                return
        before = time, frame
    if before is not None and (repeats := until(before[0] + half - TOLERANCE)):
        yield before[1], repeats
