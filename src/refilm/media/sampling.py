"""Videos at another rate: of the frames that are there, those nearest in time.

Frames are decoded one by one and let go, so that the length and the size of the file do not matter.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from refilm.media.opening import reading, timed_frames

Frame = TypeVar("Frame")
TOLERANCE = 1e-6  # seconds: halfway between two frames the earlier is taken, however the division rounds


def sample_video(
    path: Path, *, fps: float, start: float | None = None, end: float | None = None
) -> Iterator[np.ndarray]:
    """Frames of a video at `fps` frames a second, as it is meant to be seen: (H, W, 3) uint8 each.

    Args:
        fps: the rate that is wanted, whatever that of the file is.
        start, end: seconds from the first frame; the first frame is that nearest to `start`, and `end` is left out.

    Raises:
        ValueError: the file is missing, is no video, is damaged or cut short, or its frames change their size; on
            entering, or while frames come.
    """
    first, last = start or 0.0, math.inf if end is None else end
    if not 0 <= first < last:
        raise ValueError(f"{path}: start and end must be seconds, 0 <= start < end, received {start} and {end}")
    shape = None
    with reading(path) as video:
        for frame, repeats in nearest(
            timed_frames(video, first), fps=fps, start=first, end=last, half=0.5 / video.rate
        ):
            pixels = video.pixels(frame)
            if shape is not None and pixels.shape != shape:
                raise ValueError(f"{path}: the size of the frames changes; give a video of one size")
            shape = pixels.shape
            for _ in range(repeats):
                yield pixels


def nearest(
    timed: Iterator[tuple[float, Frame]], *, fps: float, start: float, end: float, half: float
) -> Iterator[tuple[Frame, int]]:
    """Of frames in the order of their times, those nearest to start, start + 1/fps, ... and how often each is.

    The last frame is seen for `half` seconds more; no moment is later than `half` seconds before `end`.
    """
    taken = 0

    def until(time: float) -> int:
        """How many more moments there are up to `time`, those at the very end left out."""
        limit = end - half - TOLERANCE
        last = math.floor((min(time, limit) - start) * fps) + 1  # not counted one by one: a file may say years
        while last >= taken and not (start + last / fps <= time and start + last / fps < limit):
            last -= 1
        return max(0, last - taken + 1)

    before: tuple[float, Frame] | None = None
    for time, frame in timed:
        if before is not None:
            if time <= before[0]:  # not in order: a damaged file
                continue
            if repeats := until((before[0] + time) / 2 + TOLERANCE):
                yield before[1], repeats
                taken += repeats
            if start + taken / fps >= end - half - TOLERANCE:
                return
        before = time, frame
    if before is not None and (repeats := until(before[0] + half - TOLERANCE)):
        yield before[1], repeats
