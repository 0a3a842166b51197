"""What a video or image file really holds, beside what it says of itself. Knows nothing of what would be wrong.

A video is decoded frame by frame, and of the frames only small images are kept.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.reformatter import Interpolation
from PIL import Image

from refilm.media.color import Colors
from refilm.media.containers import Format
from refilm.media.cropping import says_to_crop
from refilm.media.fields import TOP_FIRST
from refilm.media.images import WHITE, Color, Shown, opened, show
from refilm.media.opening import reading, timed_frames
from refilm.media.showing import colors_of
from refilm.media.sides import Sides

MOST_FRAMES = 250_000  # of a part: their small images take 0.9 GB, and 2.3 hours at 30 frames a second
TINY = 32, 36  # height and width of the small images
MEAN = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
EXIF_ORIENTATION = 0x0112
DENSITIES = ("dpi", "aspect", "resolution", "jfif_density")  # as Pillow calls them, in PNG, TIFF, JPEG and BMP


@dataclass(frozen=True)
class VideoPart:
    """A video file, and what its frames between two seconds are."""

    codec: str
    bits: int
    """Of a color channel."""
    height: int
    """In pixels, as it is shown: upright, with square pixels."""
    width: int
    pixel_aspect: float
    """Width of a pixel over its height, as the file says."""
    shown_aspect: float
    """The same, as it was believed."""
    sides: Sides
    """What the frames say of themselves: orientation, stereoscopy, ..."""
    colors: Colors | None
    """Of the frames as they are stored; None: those of SDR video."""
    interlaced: bool
    """Whether there were interlaced frames, which were made progressive."""
    contested: bool
    """Whether the container says that they are interlaced, and they that they are not."""
    transparent: bool
    """Whether there were transparent pixels, which were laid on white."""
    streams: int
    """Streams of moving frames in the file; one is read."""
    cropped: bool
    """Whether the container says that edges are not to be shown; they are, all the same."""
    rate: float
    """Frames a second, on average."""
    times: list[float]
    """Seconds of the frames since the file's first."""
    declared: int | None
    """Frames that the container says the whole file has; None: it does not say."""
    duration: float | None
    """Seconds that the container says the whole file lasts; None: it does not say."""
    corrupt: int
    """Frames that the decoder had to make up in part."""
    tiny: np.ndarray
    """(F, 32, 36, 3) uint8: the frames, made small."""
    middle: np.ndarray
    """(H, W, 3) uint8: the frame in the middle."""


@dataclass(frozen=True)
class ImageFacts:
    """An image file."""

    format: str
    mode: str
    """Pillow's name of the kind of pixels: RGB, CMYK, ..."""
    turned: bool
    """Whether EXIF says that it is stored turned or mirrored."""
    animated: bool
    """Whether it has more than one image."""
    pixel_aspect: float
    """Width of a pixel over its height, as the file says; it is shown with square ones."""
    shown: Shown
    """As `open_image` gives it, and what was done for that."""


def inspect_video(path: Path, *, start: float | None = None, end: float | None = None) -> VideoPart:
    """Decode a part of a video as `open_video` would, and tell about it.

    Raises:
        ValueError: as `open_video`, but not for its length; or the frames are too large.
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
                raise ValueError(f"{path}: the size of the frames changes at {time:.2f} s; give a video of one size")
            shape = frame.height, frame.width
            if len(times) == MOST_FRAMES:
                raise ValueError(f"{path}: more than {MOST_FRAMES} frames; cut it into clips, or give start and end")
            times.append(time)
            tiny.append(video.pixels(frame, TINY, MEAN))
            corrupt += frame.is_corrupt
            if middle is None and time + half >= middle_time:
                middle = video.pixels(frame)
        if frame is None or not times:
            part = "" if not first else f" from {first:g} s on"
            raise ValueError(f"{path}: has no frames{part}; give a video that has")
        middle = video.pixels(frame) if middle is None else middle
        shown = video.kind == "gif" and len(times) > 1  # GIF has no rate: each frame says how long it is shown
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
            declared=None if video.kind == "avi" else video.stream.frames or None,  # AVI counts empty places, too
            duration=video.duration,
            corrupt=corrupt,
            tiny=np.stack(tiny),
            middle=middle,
        )


def _cropped(path: Path, kind: Format) -> bool:
    with path.open("rb") as file:
        return says_to_crop(file, kind)


def packets_left_out(path: Path) -> int:
    """How many frames of a video its own edit list leaves out, as cutting without encoding anew does."""
    with reading(path) as video:
        return sum(packet.is_discard for packet in video.container.demux(video.stream))


def inspect_image(path: Path, background: Color = WHITE) -> ImageFacts:
    """Read an image as `open_image` does, and tell about it.

    Raises:
        ValueError: as `open_image`.
    """
    shown = show(path, background)
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
    """By the pixels per inch, or per anything, that a file says across and down, as faxes and scans do."""
    across, down = next((image.info[key] for key in DENSITIES if key in image.info), (1, 1))
    return float(down) / float(across) if across and down else 1.0


def tiny_image(image: Image.Image) -> np.ndarray:
    """An image as small as the frames of `VideoPart.tiny`: (32, 36, 3) uint8."""
    height, width = TINY
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))
