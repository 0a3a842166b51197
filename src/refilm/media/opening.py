"""A video file, open: its frames in order, with their seconds, and each of them as it is meant to be seen.

The file alone is read: no playlists, no other files, no network. What it says of its frames is obeyed: the shape of
pixels, fields, orientation, colors, transparency. Frames are let go as soon as the next is asked for, so that the
length of a file does not matter.
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

from refilm.media.boxes import assert_plausible
from refilm.media.containers import Format, recognize
from refilm.media.fields import progressive, top_first
from refilm.media.showing import EXACT, Size, shown
from refilm.media.sides import Sides

MAX_PIXELS = 64 * 10**6  # of a frame, as stored and as shown; more are refused before they are decoded
STILL = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image  # covers of music, previews
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
UNSOUGHT = ("avi", "gif")  # read from the start: their times are counted or have no index


@dataclass
class OpenVideo:
    """A video file and one stream of its frames."""

    path: Path
    container: InputContainer
    stream: VideoStream
    decoder: VideoCodecContext
    kind: Format
    streams: int
    """How many streams of moving frames the file has."""
    interlaced: int = 0
    """How many of the frames that came so far are interlaced in the file; they come progressive."""
    transparent: int = 0
    """How many of the frames that were shown so far have transparent parts; they are laid on white."""
    _sides: dict[int, Sides] = field(default_factory=dict)
    _slots: list[int] = field(default_factory=list)
    """Of an AVI file: which places of its even rate the frames that came so far have."""

    @property
    def rate(self) -> float:
        """Frames a second, on average."""
        return float(self.stream.average_rate or self.stream.guessed_rate or 1)

    @property
    def aspect(self) -> float:
        """Width of a pixel over its height; 1 where what the file says is absurd."""
        aspect = float(self.stream.sample_aspect_ratio or 1)
        return aspect if 0.25 < aspect < 4 else 1.0

    @property
    def duration(self) -> float | None:
        """Seconds that the container says the file lasts; None: it does not say."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        if not self.container.duration:
            return None
        return self.container.duration / av.time_base - self.start  # Matroska counts from 0, wherever frames begin

    @property
    def start(self) -> float:
        """Seconds of the first frame, as the file counts."""
        return float((self.stream.start_time or 0) * (self.stream.time_base or 0))

    @property
    def top_first(self) -> bool | None:
        """Whether the upper lines come first, where the container alone knows that frames are interlaced."""
        return top_first(self.stream.codec_context.name, self.stream.codec_context.field_order)

    def pixels(self, frame: VideoFrame, size: Size | None = None, how: Interpolation = EXACT) -> np.ndarray:
        """A frame as it is meant to be seen, (H, W, 3) uint8 in sRGB: of `size`, or with square pixels.

        Raises:
            ValueError: its colors cannot be converted, or it is too large.
        """
        sides = self.sides(frame)
        if size is None:
            size = frame.height, max(1, round(frame.width * self.aspect))
            _bounded(self.path, *size)
        elif sides.swapped:
            size = size[1], size[0]
        try:
            pixels, transparent = shown(frame, size, how)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        self.transparent += transparent
        return sides.upright(pixels)

    def sides(self, frame: VideoFrame) -> Sides:
        """What rides along with a frame, looked up once for each rotation: of others it is always the same."""
        rotation = frame.rotation
        if rotation not in self._sides:
            self._sides[rotation] = Sides.of(frame)
        return self._sides[rotation]

    def decoded(self) -> Iterator[VideoFrame]:
        """The frames as they are stored, from where the container was sought on."""
        unspoken = self.top_first is not None
        for packet in self.container.demux(self.stream):
            if self.kind == "avi" and packet.size and packet.dts is not None:
                self._slots.append(packet.dts)
            if self.decoder is not self.stream.codec_context:  # libvpx takes frames of any size
                self.stream.codec_context.decode(packet)
            for frame in self.decoder.decode(packet):
                self.interlaced += frame.interlaced_frame or unspoken
                yield frame

    def slot(self, position: int) -> int:
        """Which place the frame of that position has in an AVI file: some of an even rate are left empty."""
        over = max(0, position - len(self._slots) + 1)  # packets can hold two frames
        return self._slots[position - over] + over - self._slots[0]


@contextmanager
def reading(path: Path) -> Iterator[OpenVideo]:
    """A video file, open. What is wrong with it is a ValueError, on entering or while frames come."""
    kind = recognize(path)
    try:
        with path.open("rb") as file, _opened(file, kind, path) as container:
            streams = [stream for stream in container.streams.video if not stream.disposition & STILL]
            stream = _chosen(streams, path)
            yield OpenVideo(path, container, stream, _decoder(stream, path), kind, len(streams))
    except av.FFmpegError as error:
        raise ValueError(f"{path}: damaged, or in a codec unknown here ({error.strerror}); convert it anew") from error


def timed_frames(video: OpenVideo, start: float = 0.0) -> Iterator[tuple[float, VideoFrame]]:
    """Progressive frames with their seconds since the first, from a little before `start` on."""
    stream = video.stream
    assert stream.time_base is not None
    origin = stream.start_time or 0
    if start > 1 and video.kind not in UNSOUGHT:
        # a second early: containers index by decoding order, in which the frames before a key frame may follow it
        video.container.seek(origin + int((start - 1) / stream.time_base), stream=stream)
        video.decoder.flush_buffers()  # the container has flushed its own
    for position, frame in enumerate(progressive(video.decoded(), stream.time_base, video.top_first)):
        if video.kind == "avi":  # AVI stores no times, only a rate
            yield float(video.slot(position) * stream.time_base), frame
        elif frame.time is None:
            raise ValueError(f"{video.path}: has frames without a time; convert it anew")
        else:
            yield frame.time - float(origin * stream.time_base), frame


def _opened(file: BinaryIO, kind: Format, path: Path) -> InputContainer:
    """The format is given, not guessed, and no other file opens. Titles in old encodings are no reason to refuse."""
    if kind == "mov":
        try:
            assert_plausible(file)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        file.seek(0)
    return av.open(file, "r", format=kind, io_open=_refuse, metadata_errors="replace")


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise ValueError(f"the video points to another file, {url!r}; only files that hold all of their frames are read")


def _chosen(streams: list[VideoStream], path: Path) -> VideoStream:
    """The first that the file says is to be shown by default, as players choose; else the first."""
    if not streams:
        raise ValueError(f"{path}: has sound or text but no frames; give a video")
    stream = next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
    if stream.codec_context is None:
        raise ValueError(f"{path}: in a codec unknown here; convert it anew")
    _bounded(path, stream.codec_context.height, stream.codec_context.width)
    return stream


def _decoder(stream: VideoStream, path: Path) -> VideoCodecContext:
    """FFmpeg's own, or for WebM with transparency that of libvpx, which alone reads it."""
    own = stream.codec_context
    own.options = {"max_pixels": str(MAX_PIXELS)}  # frames may be larger than is declared
    own.thread_type = "AUTO"
    if stream.metadata.get("alpha_mode") != "1" or own.name not in WITH_ALPHA:
        return own
    name = WITH_ALPHA[own.name]
    try:
        decoder = CodecContext.create(name, "r")
    except UnknownCodecError as error:
        raise ValueError(f"{path}: is transparent, which {name} reads, but it is missing here; convert it") from error
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_type = "AUTO"
    decoder.color_trc, decoder.color_primaries = own.color_trc, own.color_primaries
    decoder.colorspace, decoder.color_range = own.colorspace, own.color_range
    return decoder


def _bounded(path: Path, height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        most = MAX_PIXELS // 10**6
        raise ValueError(f"{path}: frames of {width} x {height} pixels are over {most} megapixels; scale it down")
