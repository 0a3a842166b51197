"""Determine the actual content of a video or image file besides its metadata; the caller judges it.

Videos are decoded frame by frame, and only small copies of the frames are kept in memory.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.reformatter import Interpolation
from PIL import Image

from refilm.errors import UserError
from refilm.media.color import Colors
from refilm.media.colors import WHITE, Color
from refilm.media.containers import Format
from refilm.media.cropping import declares_crop
from refilm.media.fields import TOP_FIRST
from refilm.media.frame_colors import colors_of
from refilm.media.images import ConvertedImage, opened, read_image
from refilm.media.opening import reading, timed_frames
from refilm.media.side_data import FrameSideData

MOST_FRAMES = 250_000  # of a part: 2.3 hours at 30 fps, whose small copies take 0.9 GB
TINY = 32, 36  # height and width of the small copies
MEAN = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
EXIF_ORIENTATION = 0x0112
DENSITIES = ("dpi", "aspect", "resolution", "jfif_density")  # Pillow's names in PNG, TIFF, JPEG and BMP


@dataclass(frozen=True)
class VideoPart:
    """Properties of a video file and of its frames in a time range."""

    codec: str
    bits: int
    """Bits per color channel."""
    height: int
    """Displayed height in pixels: upright, with square pixels."""
    width: int
    pixel_aspect: float
    """Width of a pixel divided by its height, as declared."""
    shown_aspect: float
    """The pixel aspect ratio that was used."""
    sides: FrameSideData
    """Metadata of the frames: orientation, stereoscopy, ..."""
    colors: Colors | None
    """Color space of the stored frames. None: SDR video."""
    interlaced: bool
    """Whether there were interlaced frames, which were deinterlaced."""
    contested: bool
    """Whether the container declares interlacing, but the frames declare that they are progressive."""
    transparent: bool
    """Whether there were transparent pixels, which were blended with white."""
    streams: int
    """Number of video streams in the file; one is read."""
    cropped: bool
    """Whether the container declares a crop, which is not applied."""
    rate: float
    """Average frame rate."""
    times: list[float]
    """Times of the frames since the first frame of the file, in seconds."""
    declared: int | None
    """Declared number of frames of the whole file. None: not declared."""
    duration: float | None
    """Declared duration of the whole file in seconds. None: not declared."""
    corrupt: int
    """Number of frames that the decoder had to conceal errors in."""
    tiny: np.ndarray
    """(F, 32, 36, 3) uint8: small copies of the frames."""
    middle: np.ndarray
    """(H, W, 3) uint8: the middle frame."""


@dataclass(frozen=True)
class ImageFacts:
    """Properties of an image file."""

    format: str
    mode: str
    """Pillow's mode: RGB, CMYK, ..."""
    turned: bool
    """Whether EXIF declares that it is stored rotated or mirrored."""
    animated: bool
    """Whether the file contains more than one image."""
    pixel_aspect: float
    """Width of a pixel divided by its height, as declared; the image is read with square pixels."""
    shown: ConvertedImage
    """The image as `open_image` returns it, and the conversions that were applied."""


def inspect_video(path: Path, *, start: float | None = None, end: float | None = None) -> VideoPart:
    """Decode a part of a video as `open_video` does, and report its properties.

    Raises:
        UserError: as `open_video`, except for the limit on its length; or the frames are too large.
    """
    first, last = start or 0.0, math.inf if end is None else end
    with reading(path) as video:
        middle_time = (first + min(last, video.duration or math.inf)) / 2
        half = 0.5 / video.rate
        times: list[float] = []
        tiny: list[np.ndarray] = []
        frame = middle = None
        corrupt, shape = 0, None
        for time, frame in timed_frames(video, first):
            if time + half >= last:
                break
            if time + half < first:
                continue
            if shape is not None and (frame.height, frame.width) != shape:
                raise UserError(f"{path}: the frame size changes at {time:.2f} s; use a video with one size")
            shape = frame.height, frame.width
            if len(times) == MOST_FRAMES:
                raise UserError(
                    f"{path}: has more than {MOST_FRAMES} frames; split it into clips, or set start and end"
                )
            times.append(time)
            tiny.append(video.pixels(frame, TINY, MEAN))
            corrupt += frame.is_corrupt
            if middle is None and time + half >= middle_time:
                middle = video.pixels(frame)
        if frame is None or not times:
            part = "" if not first else f" from {first:g} s on"
            raise UserError(f"{path}: has no frames{part}; use another video or time range")
        middle = video.pixels(frame) if middle is None else middle
        shown = video.kind == "gif" and len(times) > 1  # GIF stores a duration for each frame instead of a rate
        return VideoPart(
            codec=video.stream.codec_context.name,
            bits=frame.format.components[0].bits,
            height=middle.shape[0],
            width=middle.shape[1],
            pixel_aspect=float(video.stream.sample_aspect_ratio or 1),
            shown_aspect=video.aspect,
            sides=video.sides(frame),
            colors=colors_of(frame),
            interlaced=video.interlaced > 0,
            contested=not video.interlaced and video.stream.codec_context.field_order in TOP_FIRST,
            transparent=video.transparent > 0,
            streams=video.streams,
            cropped=_cropped(path, video.kind),
            rate=(len(times) - 1) / (times[-1] - times[0]) if shown else video.rate,
            times=times,
            declared=None if video.kind == "avi" else video.stream.frames or None,  # AVI counts empty slots, too
            duration=video.duration,
            corrupt=corrupt,
            tiny=np.stack(tiny),
            middle=middle,
        )


def _cropped(path: Path, kind: Format) -> bool:
    with path.open("rb") as file:
        return declares_crop(file, kind)


def packets_left_out(path: Path) -> int:
    """Number of frames that a video's edit list excludes, as after cutting without re-encoding."""
    with reading(path) as video:
        return sum(packet.is_discard for packet in video.container.demux(video.stream))


def inspect_image(path: Path, background: Color = WHITE) -> ImageFacts:
    """Read an image as `open_image` does, and report its properties.

    Raises:
        UserError: as `open_image`.
    """
    shown = read_image(path, background)
    with path.open("rb") as file:
        raw = opened(file, path)
        turned = raw.getexif().get(EXIF_ORIENTATION, 1) not in (0, 1)
        return ImageFacts(
            format=raw.format or "",
            mode=raw.mode,
            turned=turned,
            animated=getattr(raw, "is_animated", False),
            pixel_aspect=_pixel_aspect(raw),
            shown=shown,
        )


def _pixel_aspect(image: Image.Image) -> float:
    """The pixel aspect ratio from the declared horizontal and vertical resolution, as in faxes and scans."""
    across, down = next((image.info[key] for key in DENSITIES if key in image.info), (1, 1))
    return float(down) / float(across) if across and down else 1.0


def tiny_image(image: Image.Image) -> np.ndarray:
    """A small copy of an image, as in `VideoPart.tiny`: (32, 36, 3) uint8."""
    height, width = TINY
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))
