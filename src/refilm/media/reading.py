"""Read video files into memory: whole videos, parts, or single frames.

All stored frames are read; for a variable frame rate, `fps` is the average.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from refilm.arguments import checked
from refilm.errors import UserError
from refilm.media.opening import UNSOUGHT, OpenVideo, reading, timed_frames
from refilm.media.video import Video

MAX_BYTES = 4 * 2**30  # of frames in memory
FAR = 2.0  # seconds, about the distance of key frames


@checked
def open_video(
    path: Path | str, *, start: float | None = None, end: float | None = None, frames: int | None = None
) -> Video:
    """Read a video as it is meant to be displayed: upright, progressive, in sRGB, on white, with square pixels.

    HDR is tone-mapped (see `media.color`). MP4, MOV, MKV, WebM, AVI and GIF are recognized by their content.

    Args:
        start: seconds from the first frame. The part starts with the nearest frame.
        end: seconds from the first frame. The part ends before the nearest frame, so adjacent parts neither overlap nor
            miss a frame.
        frames: maximum number of frames, counted from the start of the part. The rate of a GIF is then that of these
            frames.

    Raises:
        UserError: the file is missing, is not a video, is damaged or truncated, does not fit in memory, or has no
            frames between `start` and `end`.
    """
    path = Path(path)
    first, last = start or 0.0, math.inf if end is None else end
    if not 0 <= first < last:
        raise UserError(f"{path}: start and end must be seconds, 0 <= start < end, received {start} and {end}")
    if frames is not None and frames < 1:
        raise UserError(f"{path}: frames must be 1 or more, received {frames}")
    with reading(path) as video:
        rate = video.rate
        timed = _between(timed_frames(video, first), first, last, 0.5 / rate)
        times, images = _collect(islice(timed, frames), video)
    if not images:
        part = "" if start is end is None else f" between {first:g} s and {last:g} s"
        raise UserError(f"{path}: has no frames{part}; use another video or time range")
    if video.kind == "gif" and len(times) > 1:  # GIF stores a duration for each frame instead of a rate
        rate = (len(times) - 1) / (times[-1] - times[0])
    try:
        return Video(np.stack(images), rate)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


@checked
def open_frames(path: Path | str, seconds: Sequence[float]) -> list[tuple[float, np.ndarray]]:
    """Read single frames of a video by seeking, converted as in `open_video`.

    Args:
        seconds: times from the first frame, in any order.

    Returns:
        For each of `seconds` the nearest frame (the earlier of two): its time, and its pixels (H, W, 3) uint8.

    Raises:
        UserError: as `open_video`, or one of `seconds` is negative.
    """
    path = Path(path)
    wanted = sorted(set(seconds))
    if not all(0 <= second < math.inf for second in wanted):
        raise UserError(f"{path}: seconds of frames must be 0 or more, received {list(seconds)}")
    found: dict[float, tuple[float, np.ndarray]] = {}
    with reading(path) as video:
        for run in _runs(wanted, math.inf if video.kind in UNSOUGHT else FAR):
            for second, (time, frame) in zip(run, _nearest(timed_frames(video, run[0]), run), strict=False):
                found[second] = time, video.pixels(frame)
    if len(found) < len(wanted):
        raise UserError(f"{path}: has no frames; use another video")
    return [found[second] for second in seconds]


@checked
def duration(path: Path | str) -> float:
    """The duration of a video in seconds as declared by its container, without decoding. It can be inaccurate.

    Raises:
        UserError: as `open_video`, or the container does not declare a duration.
    """
    path = Path(path)
    with reading(path) as video:
        if video.duration is not None:
            return video.duration
    raise UserError(f"{path}: does not declare its duration; convert it again")


def _between(
    timed: Iterator[tuple[float, VideoFrame]], start: float, end: float, half: float
) -> Iterator[tuple[float, VideoFrame]]:
    for time, frame in timed:
        if time + half >= end:
            return
        if time + half >= start:
            yield time, frame


def _runs(seconds: list[float], far: float) -> Iterator[list[float]]:
    """Split sorted times at gaps longer than `far`, where seeking is faster than decoding the frames in between."""
    run: list[float] = []
    for second in seconds:
        if run and second - run[-1] > far:
            yield run
            run = []
        run.append(second)
    if run:
        yield run


def _nearest(timed: Iterator[tuple[float, VideoFrame]], seconds: list[float]) -> Iterator[tuple[float, VideoFrame]]:
    """For each of the sorted `seconds` the nearest frame; yields nothing if there are no frames."""
    before = after = next(timed, None)
    for second in seconds:
        while after is not None and after[0] < second:
            before, after = after, next(timed, None)
        if before is None:
            return
        nearer = before if after is None or second - before[0] <= after[0] - second else after
        yield nearer


def _collect(timed: Iterator[tuple[float, VideoFrame]], video: OpenVideo) -> tuple[list[float], list[np.ndarray]]:
    times: list[float] = []
    frames: list[np.ndarray] = []
    for time, frame in timed:
        pixels = video.pixels(frame)
        if frames and pixels.shape != frames[0].shape:
            raise UserError(f"{video.path}: the frame size changes at {time:.2f} s; use a video with one size")
        times.append(time)
        frames.append(pixels)
        if len(frames) * pixels.nbytes > MAX_BYTES:
            raise UserError(
                f"{video.path}: the frames need more than {MAX_BYTES >> 30} GiB; read a part of it with start and end"
            )
    return times, frames
