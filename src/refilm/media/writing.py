"""Write frames to MP4, WebM, GIF, animated WebP or numbered PNG files, atomically.

Works on arrays and paths; `Video.save` chooses the format and validates the arguments.
"""

import os
import re
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream
from PIL import Image

from refilm.errors import UserError
from refilm.files import atomic_file
from refilm.media.notes import container_note, image_note

SUFFIXES = (".mp4", ".webm", ".gif", ".webp", ".png")
LONGEST = dict.fromkeys(SUFFIXES, 16384) | {".webp": 16383}  # pixels of a side, for PNG and GIF to save memory
LARGEST_SCALE = 64
GIF_COLORS = 255  # one of 256 is reserved for "unchanged from the previous frame"
GIF_FPS = 50  # browsers play faster GIFs at 10 fps


@dataclass(frozen=True)
class Codec:
    """How frames are stored in a container."""

    container: str
    name: str
    options: dict[str, str]
    flags: dict[str, str] = field(default_factory=dict)
    """Options of the container."""


CODECS = {
    # Its macroblock tree lets x264 write other bits from time to time for the same frames, as does a random identifier
    # in WebM. Without use_metadata_tags MP4 files lose keys that FFmpeg does not know.
    ".mp4": Codec("mp4", "libx264", {"crf": "14", "mbtree": "0"}, {"movflags": "+faststart+use_metadata_tags"}),
    ".webm": Codec("webm", "libvpx-vp9", {"crf": "16", "b": "0", "cpu-used": "4"}, {"fflags": "+bitexact"}),
}


def check_target(path: Path) -> str:
    """Check that a video can be written to `path`; returns the suffix, one of `SUFFIXES`.

    Raises:
        UserError: the suffix is unknown, the folder does not exist or is not writable, or `path` is a folder.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise UserError(f"{path}: cannot write {suffix or 'a file without suffix'}; use {known}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; use a file name")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: the folder {path.parent} is not writable; choose another")
    return suffix


def existing_files(path: Path) -> list[Path]:
    """The files that a video written to `path` replaces: of a `.png`, the frames of an earlier video."""
    if path.suffix.lower() != ".png":
        return [path] if path.exists() else []
    frame = re.compile(rf"{re.escape(path.stem)}-\d{{3,}}{re.escape(path.suffix)}")
    return sorted(other for other in path.parent.iterdir() if frame.fullmatch(other.name))


def check_size(path: Path, height: int, width: int, scale: int) -> None:
    """Check that a video of height x width pixels can be written to `path`, enlarged by `scale`.

    Raises:
        UserError: a side is too long for the format.
    """
    longest = LONGEST[path.suffix.lower()]
    if max(height, width) * scale > longest:
        size = f"{width * scale} x {height * scale}"
        raise UserError(f"{path}: {size} pixels are too large for {path.suffix} (at most {longest} per side)")


def write_video(path: Path, frames: np.ndarray, fps: float, scale: int, note: str | None = None) -> None:
    """Write H.264 (`.mp4`, ready for streaming) or VP9 (`.webm`) in BT.709, near-lossless.

    Odd sides are padded by repeating the last row or column.
    """
    codec = CODECS[path.suffix.lower()]
    height, width = (ceil(side * scale / 2) * 2 for side in frames.shape[1:3])
    with (
        atomic_file(path) as temporary,
        av.open(f"file:{temporary}", "w", format=codec.container, options=codec.flags) as container,
    ):
        stream = container.add_stream(codec.name, rate=Fraction(fps).limit_denominator(1001), options=codec.options)
        assert isinstance(stream, VideoStream)
        container.metadata.update(container_note(note))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = Colorspace.ITU709, ColorRange.MPEG
        stream.codec_context.color_primaries, stream.codec_context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for frame in frames:
            container.mux(stream.encode(_yuv(_padded(_enlarged(frame, scale), height, width))))
        container.mux(stream.encode())


def write_webp(path: Path, frames: np.ndarray, fps: float, scale: int, note: str | None = None) -> None:
    """Write a looping animated WebP: near-lossless, or lossless if enlarged. Times are in whole milliseconds."""
    times = np.round(np.arange(len(frames) + 1) * 1000 / fps).astype(int)
    first, *others = (Image.fromarray(_enlarged(frame, scale)) for frame in frames)
    how = {"lossless": True, "quality": 50} if scale > 1 else {"quality": 95}
    how |= image_note(".webp", note)
    durations = np.diff(times).tolist()
    with atomic_file(path) as temporary:
        first.save(temporary, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, **how)


def write_gif(path: Path, frames: np.ndarray, fps: float, scale: int, note: str | None = None) -> None:
    """Write a looping GIF with one palette for all frames, exact up to 255 colors. Frames above 50 fps are skipped."""
    step = ceil(fps / GIF_FPS)
    frames = frames[::step]
    ticks = np.round(np.arange(len(frames) + 1) * 100 * step / fps).astype(
        int
    )  # GIF times are in hundredths of a second
    first, *others = _indexed(frames, scale)
    durations = (np.diff(ticks) * 10).tolist()
    with atomic_file(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=durations,
            loop=0,
            **image_note(".gif", note),
        )


def write_pngs(path: Path, frames: np.ndarray, scale: int, note: str | None = None) -> list[Path]:
    """Write `name-000.png`, `name-001.png`... for `name.png`, in place of all frames of an earlier video.

    Returns the paths.
    """
    earlier = existing_files(path)
    digits = max(3, len(str(len(frames) - 1)))
    paths = [path.with_name(f"{path.stem}-{number:0{digits}}{path.suffix}") for number in range(len(frames))]
    for target, frame in zip(paths, frames, strict=True):
        with atomic_file(target) as temporary:
            Image.fromarray(_enlarged(frame, scale)).save(temporary, format="PNG", **image_note(".png", note))
    for left in set(earlier) - set(paths):
        left.unlink()
    return paths


def _enlarged(frame: np.ndarray, scale: int) -> np.ndarray:
    return np.ascontiguousarray(frame.repeat(scale, axis=0).repeat(scale, axis=1))


def _padded(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), mode="edge")


def _yuv(frame: np.ndarray) -> VideoFrame:
    """Convert to YUV; each chroma sample is the mean of its four pixels, so edges of pixel art do not move."""
    return VideoFrame.from_ndarray(frame, format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
    )


def _indexed(frames: np.ndarray, scale: int) -> list[Image.Image]:
    """The frames with a common palette. Enlarged videos are not dithered, so pixel art stays flat."""
    count, height, width, _ = frames.shape
    strip = Image.fromarray(frames.reshape(count * height, width, 3))
    indexed = strip.quantize(GIF_COLORS)
    if scale == 1 and strip.getcolors(GIF_COLORS) is None:
        indexed = strip.quantize(palette=indexed, dither=Image.Dither.FLOYDSTEINBERG)
    tops = range(0, count * height, height)
    tiles = (indexed.crop((0, top, width, top + height)) for top in tops)
    return [tile.resize((width * scale, height * scale), Image.Resampling.NEAREST) for tile in tiles]
