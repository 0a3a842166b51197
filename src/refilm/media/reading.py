"""Video files to frames. The file alone is read: no playlists, no other files, no network.

Knows nothing of what the frames are for. Frames come as they are stored, one by one: of a variable
rate, `fps` is the average.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import av
import numpy as np
from av.container.input import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream

from refilm.media.containers import Format, recognize
from refilm.media.video import Video

MAX_BYTES = 4 * 2**30  # of frames in memory
FAR = 2.0  # seconds, about the distance of key frames
UNSOUGHT = ("avi", "gif")  # read from the start: their times are counted or have no index
UNTAGGED = (2, 3)  # color spaces "unspecified" and "reserved"
EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT  # the default darkens by 1


def open_video(
    path: Path | str, *, start: float | None = None, end: float | None = None, frames: int | None = None
) -> Video:
    """Read a video as it is meant to be seen: turned upright, pixels made square.

    MP4, MOV, MKV, WebM, AVI and GIF, recognized by their content.

    Args:
        start, end: seconds from the first frame; the frames nearest to `start` and onwards, up to that nearest to
            `end`, which is left out. So neighboring parts share no frame and miss none.
        frames: read no more than these, the first of that part. Of a GIF, the rate is then theirs.

    Raises:
        ValueError: the file is missing, is no video, is damaged or cut short, is too long for memory,
            or has no frames between `start` and `end`.
    """
    path = Path(path)
    first, last = start or 0.0, math.inf if end is None else end
    if not 0 <= first < last:
        raise ValueError(f"{path}: start and end must be seconds, 0 <= start < end, received {start} and {end}")
    if frames is not None and frames < 1:
        raise ValueError(f"{path}: frames must be 1 or more, received {frames}")
    with reading(path) as (container, stream, kind):
        rate = rate_of(stream)
        timed = _between(timed_frames(container, stream, kind, first), first, last, 0.5 / rate)
        times, pictures = _collect(islice(timed, frames), stream, path)
    if not pictures:
        part = "" if start is end is None else f" between {first:g} s and {last:g} s"
        raise ValueError(f"{path}: has no frames{part}; give a video that has")
    if kind == "gif" and len(times) > 1:  # GIF has no rate: each frame says how long it is shown
        rate = (len(times) - 1) / (times[-1] - times[0])
    try:
        return Video(np.stack(pictures), rate)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def open_frames(path: Path | str, seconds: Sequence[float]) -> list[tuple[float, np.ndarray]]:
    """Read single frames of a video, seeking, as `open_video` would show them.

    Args:
        seconds: from the first frame, in any order.

    Returns:
        For each of `seconds` the frame nearest to it, the earlier of two: its own second, and (H, W, 3) uint8.

    Raises:
        ValueError: as `open_video` does, or where a second is below 0.
    """
    path = Path(path)
    wanted = sorted(set(seconds))
    if not all(0 <= second < math.inf for second in wanted):
        raise ValueError(f"{path}: seconds of frames must be 0 or more, received {list(seconds)}")
    found: dict[float, tuple[float, np.ndarray]] = {}
    with reading(path) as (container, stream, kind):
        aspect = float(stream.sample_aspect_ratio or 1)
        for run in _runs(wanted, math.inf if kind in UNSOUGHT else FAR):
            for second, (time, frame) in zip(
                run, _nearest(timed_frames(container, stream, kind, run[0]), run), strict=False
            ):
                found[second] = time, pixels_of(frame, aspect)
    if len(found) < len(wanted):
        raise ValueError(f"{path}: has no frames; give a video that has")
    return [found[second] for second in seconds]


def duration(path: Path | str) -> float:
    """How many seconds a video lasts, as its container says, without decoding; `open_frames` tells the truth.

    Raises:
        ValueError: as `open_video` does, or where the container does not say.
    """
    path = Path(path)
    with reading(path) as (container, stream, _):
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if container.duration:
            return container.duration / av.time_base
    raise ValueError(f"{path}: does not say how long it is; convert it anew")


@contextmanager
def reading(path: Path) -> Iterator[tuple[InputContainer, VideoStream, Format]]:
    """A video file, open. What is wrong with it is a ValueError, on entering or while frames come."""
    kind = recognize(path)
    try:
        with path.open("rb") as file, _opened(file, kind) as container:
            yield container, _video_stream(container, path), kind
    except av.FFmpegError as error:
        raise ValueError(f"{path}: damaged, or in a codec unknown here ({error.strerror}); convert it anew") from error


def _opened(file: BinaryIO, kind: Format) -> InputContainer:
    """The format is given, not guessed, and no other file opens. Titles in old encodings are no reason to refuse."""
    return av.open(file, "r", format=kind, io_open=_refuse, metadata_errors="replace")


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise ValueError(f"the video points to another file, {url}; only files that hold all of their frames are read")


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first that moves: music files hold their cover as a stream too."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise ValueError(f"{path}: in a codec unknown here; convert it anew")
            stream.thread_type = "AUTO"
            return stream
    raise ValueError(f"{path}: has sound or text but no frames; give a video")


def rate_of(stream: VideoStream) -> float:
    """Frames a second, on average."""
    return float(stream.average_rate or stream.guessed_rate or 1)


def timed_frames(
    container: InputContainer, stream: VideoStream, kind: Format, start: float
) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with their seconds since the first, from a little before `start` on."""
    if kind == "avi":  # AVI stores no times, only a rate
        for position, frame in enumerate(container.decode(stream)):
            yield position / rate_of(stream), frame
        return
    assert stream.time_base is not None
    origin = stream.start_time or 0
    if start > 1 and kind not in UNSOUGHT:
        # a second early: containers index by decoding order, in which the frames before a key frame may follow it
        container.seek(origin + int((start - 1) / stream.time_base), stream=stream)
    for frame in container.decode(stream):
        yield frame.time - float(origin * stream.time_base), frame


def _between(
    timed: Iterator[tuple[float, VideoFrame]], start: float, end: float, half: float
) -> Iterator[tuple[float, VideoFrame]]:
    for time, frame in timed:
        if time + half >= end:
            return
        if time + half >= start:
            yield time, frame


def _runs(seconds: list[float], far: float) -> Iterator[list[float]]:
    """Seconds in order, parted where the next is `far`: seeking is then faster than decoding what lies between."""
    run: list[float] = []
    for second in seconds:
        if run and second - run[-1] > far:
            yield run
            run = []
        run.append(second)
    if run:
        yield run


def _nearest(timed: Iterator[tuple[float, VideoFrame]], seconds: list[float]) -> Iterator[tuple[float, VideoFrame]]:
    """For each of `seconds`, in order, the frame nearest to it; nothing where there are no frames at all."""
    before = after = next(timed, None)
    for second in seconds:
        while after is not None and after[0] < second:
            before, after = after, next(timed, None)
        if before is None:
            return
        nearer = before if after is None or second - before[0] <= after[0] - second else after
        yield nearer


def _collect(
    timed: Iterator[tuple[float, VideoFrame]], stream: VideoStream, path: Path
) -> tuple[list[float], list[np.ndarray]]:
    times: list[float] = []
    frames: list[np.ndarray] = []
    for time, frame in timed:
        pixels = pixels_of(frame, float(stream.sample_aspect_ratio or 1))
        if frames and pixels.shape != frames[0].shape:
            raise ValueError(f"{path}: the size of the frames changes at {time:.2f} s; give a video of one size")
        times.append(time)
        frames.append(pixels)
        if len(frames) * pixels.nbytes > MAX_BYTES:
            raise ValueError(
                f"{path}: more than {MAX_BYTES >> 30} GiB of frames; read a part of it, with start and end"
            )
    return times, frames


def pixels_of(frame: VideoFrame, aspect: float) -> np.ndarray:
    """(H, W, 3) uint8; `aspect` is that of a pixel. Untagged YUV is BT.709 if HD, else BT.601, as players have it."""
    hd = frame.colorspace in UNTAGGED and frame.height >= 720
    frame = frame.reformat(
        width=round(frame.width * aspect) if 0.25 < aspect < 4 else None,
        format="rgb24",
        src_colorspace=Colorspace.ITU709 if hd else None,
        interpolation=EXACT,
    )
    return upright(frame.to_ndarray(), frame.side_data.get("DISPLAYMATRIX"))


def upright(pixels: np.ndarray, matrix: Any) -> np.ndarray:
    """Turn and mirror as the display matrix says: x' = a x + c y, y' = b x + d y, stored as a, b, u, c, d, ..."""
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32)[:5]
    if abs(int(b)) > abs(int(a)):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
