"""Open video files: frames in order, with their times, as they are meant to be displayed.

Only the file itself is read: no playlists, no other files, no network. Its metadata is applied: pixel aspect ratio,
fields, orientation, colors, transparency. Each frame is released when the next one is requested, so memory does not
depend on the length of the file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

import av
import numpy as np
from av.codec import CodecContext
from av.codec.codec import UnknownCodecError
from av.container.input import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from refilm.errors import UserError
from refilm.media.boxes import assert_plausible
from refilm.media.containers import Format, recognize
from refilm.media.fields import progressive, top_first
from refilm.media.frame_colors import EXACT, Size, to_rgb
from refilm.media.side_data import FrameSideData

MAX_PIXELS = 64 * 10**6  # of a frame, stored and displayed; larger frames are refused before they are decoded
STILL = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image  # cover art, previews
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
UNSOUGHT = ("avi", "gif")  # read from the start, because times are counted or not indexed


@dataclass
class OpenVideo:
    """An open video file and one of its video streams."""

    path: Path
    container: InputContainer
    stream: VideoStream
    decoder: VideoCodecContext
    kind: Format
    streams: int
    """Number of video streams in the file."""
    interlaced: int = 0
    """Number of interlaced frames so far; they are deinterlaced."""
    transparent: int = 0
    """Number of converted frames so far with transparent parts; they are blended with white."""
    _sides: dict[int, FrameSideData] = field(default_factory=dict)
    _slots: list[int] = field(default_factory=list)
    """For AVI files: the slots, at the constant frame rate, of the frames so far."""

    @property
    def rate(self) -> float:
        """Average frame rate."""
        return float(self.stream.average_rate or self.stream.guessed_rate or 1)

    @property
    def aspect(self) -> float:
        """Width of a pixel divided by its height; 1 if the declared value is implausible."""
        aspect = float(self.stream.sample_aspect_ratio or 1)
        return aspect if 0.25 < aspect < 4 else 1.0

    @property
    def duration(self) -> float | None:
        """Declared duration in seconds. None: not declared."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        if not self.container.duration:
            return None
        return self.container.duration / av.time_base - self.start  # Matroska counts from 0, not from the first frame

    @property
    def start(self) -> float:
        """Time of the first frame in the file's time base, in seconds."""
        return float((self.stream.start_time or 0) * (self.stream.time_base or 0))

    @property
    def top_first(self) -> bool | None:
        """Whether the top field comes first, if only the container declares that frames are interlaced."""
        return top_first(self.stream.codec_context.name, self.stream.codec_context.field_order)

    def pixels(self, frame: VideoFrame, size: Size | None = None, how: Interpolation = EXACT) -> np.ndarray:
        """A frame as it is meant to be displayed, (H, W, 3) uint8 in sRGB, with `size` or square pixels.

        Raises:
            UserError: its colors cannot be converted, or it is too large.
        """
        sides = self.sides(frame)
        if size is None:
            size = frame.height, max(1, round(frame.width * self.aspect))
            _bounded(self.path, *size)
        elif sides.swapped:
            size = size[1], size[0]
        try:
            pixels, transparent = to_rgb(frame, size, how)
        except ValueError as error:
            raise UserError(f"{self.path}: {error}") from error
        self.transparent += transparent
        return sides.upright(pixels)

    def sides(self, frame: VideoFrame) -> FrameSideData:
        """The side data of a frame, read once for each rotation; the other values do not change within a file."""
        rotation = frame.rotation
        if rotation not in self._sides:
            self._sides[rotation] = FrameSideData.of(frame)
        return self._sides[rotation]

    def decoded(self) -> Iterator[VideoFrame]:
        """The stored frames from the current position of the container on."""
        undeclared = self.top_first is not None
        for packet in self.container.demux(self.stream):
            if self.kind == "avi" and packet.size and packet.dts is not None:
                self._slots.append(packet.dts)
            if self.decoder is not self.stream.codec_context:  # libvpx accepts frames of any size
                self.stream.codec_context.decode(packet)
            for frame in self.decoder.decode(packet):
                self.interlaced += frame.interlaced_frame or undeclared
                yield frame

    def slot(self, position: int) -> int:
        """The slot of the frame at a position in an AVI file; slots of the constant rate can be empty."""
        over = max(0, position - len(self._slots) + 1)  # packets can contain two frames
        return self._slots[position - over] + over - self._slots[0]


@contextmanager
def reading(path: Path) -> Iterator[OpenVideo]:
    """Open a video file. Problems with it raise UserError, on entering or while frames are read."""
    kind = recognize(path)
    try:
        with path.open("rb") as file, _opened(file, kind, path) as container:
            streams = [stream for stream in container.streams.video if not stream.disposition & STILL]
            stream = _chosen(streams, path)
            yield OpenVideo(path, container, stream, _decoder(stream, path), kind, len(streams))
    except av.FFmpegError as error:
        raise UserError(f"{path}: damaged, or in an unsupported codec ({error.strerror}); convert it again") from error


def timed_frames(video: OpenVideo, start: float = 0.0) -> Iterator[tuple[float, VideoFrame]]:
    """Progressive frames with their times since the first frame, starting slightly before `start`."""
    stream = video.stream
    assert stream.time_base is not None
    origin = stream.start_time or 0
    if start > 1 and video.kind not in UNSOUGHT:
        # one second early: containers index by decoding order, in which frames before a key frame can follow it
        video.container.seek(origin + int((start - 1) / stream.time_base), stream=stream)
        video.decoder.flush_buffers()  # the container flushed only its own decoder
    for position, frame in enumerate(progressive(video.decoded(), stream.time_base, video.top_first)):
        if video.kind == "avi":  # AVI stores a rate but no times
            yield float(video.slot(position) * stream.time_base), frame
        elif frame.time is None:
            raise UserError(f"{video.path}: has frames without a time; convert it again")
        else:
            yield frame.time - float(origin * stream.time_base), frame


def _opened(file: BinaryIO, kind: Format, path: Path) -> InputContainer:
    """Open with a given format and without access to other files. Metadata in legacy encodings is accepted."""
    if kind == "mov":
        try:
            assert_plausible(file)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        file.seek(0)
    return av.open(file, "r", format=kind, io_open=_refuse, metadata_errors="replace")


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise UserError(f"the video refers to another file, {url!r}; only self-contained files are supported")


def _chosen(streams: list[VideoStream], path: Path) -> VideoStream:
    """The first default stream, as in players; otherwise the first stream."""
    if not streams:
        raise UserError(f"{path}: contains sound or text but no video stream; use a video")
    stream = next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
    if stream.codec_context is None:
        raise UserError(f"{path}: the codec is not supported; convert it again")
    _bounded(path, stream.codec_context.height, stream.codec_context.width)
    return stream


def _decoder(stream: VideoStream, path: Path) -> VideoCodecContext:
    """FFmpeg's native decoder, or libvpx for WebM with transparency, which the native one does not decode."""
    own = stream.codec_context
    own.options = {"max_pixels": str(MAX_PIXELS)}  # frames can be larger than declared
    own.thread_type = "AUTO"
    if stream.metadata.get("alpha_mode") != "1" or own.name not in WITH_ALPHA:
        return own
    name = WITH_ALPHA[own.name]
    try:
        decoder = CodecContext.create(name, "r")
    except UnknownCodecError as error:
        raise UserError(
            f"{path}: has transparency, which requires the decoder {name}, but it is not installed; convert it"
        ) from error
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_type = "AUTO"
    decoder.color_trc, decoder.color_primaries = own.color_trc, own.color_primaries
    decoder.colorspace, decoder.color_range = own.colorspace, own.color_range
    return decoder


def _bounded(path: Path, height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        most = MAX_PIXELS // 10**6
        raise UserError(f"{path}: frames of {width} x {height} pixels have more than {most} megapixels; scale it down")
