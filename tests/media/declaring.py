"""Videos with metadata, made with FFmpeg's encoders from a few small frames."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image


def write(
    path: Path,
    frames: list[av.VideoFrame],
    *,
    codec: str = "ffv1",
    container: str = "matroska",
    options: dict[str, str] | None = None,
    rate: int = 8,
    turn: dict | None = None,
    metadata: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    order: int = 0,
    places: Sequence[int] | None = None,
) -> Path:
    """A video of these frames, with the color tags of the first; FFV1 in Matroska keeps every pixel.

    Args:
        order: of fields, as the container says it: FFmpeg's AVFieldOrder.
        places: of the frames, in an even rate; by default one after another.
    """
    first = frames[0]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        stream.metadata.update(metadata or {})
        if turn:
            stream.set_display_rotation(**turn)
        context = stream.codec_context
        if aspect:
            context.sample_aspect_ratio = aspect
        context.color_trc, context.color_primaries = first.color_trc, first.color_primaries
        context.colorspace, context.color_range = first.colorspace, first.color_range
        context.field_order = order
        for number, frame in zip(places or range(len(frames)), frames, strict=True):
            frame.pts, frame.time_base = number, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def write_jpegs(path: Path, images: list[bytes], *, container: str = "mov", rate: int = 8) -> Path:
    """A video of unchanged JPEG files with their metadata, as cameras write it."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *Image.open(io.BytesIO(images[0])).size, "yuvj420p"
        for number, image in enumerate(images):
            packet = av.Packet(image)
            packet.stream, packet.time_base, packet.duration = stream, Fraction(1, rate), 1
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            file.mux(packet)
    return path


def tagged(pixels: np.ndarray, format: str, *, transfer=2, primaries=2, matrix=2, range=0) -> av.VideoFrame:
    """A frame of stored pixels with code points of ITU-T H.273; range 1 is limited, 2 is full."""
    frame = av.VideoFrame.from_ndarray(pixels, format=format)
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, primaries, matrix, range
    return frame


def gray(luma: int, *, bits: int = 8, **tags: int) -> av.VideoFrame:
    """A plain 4:2:0 frame of 64 x 48 pixels."""
    kind = np.uint8 if bits == 8 else np.uint16
    planes = np.full((72, 64), luma, kind)
    planes[48:] = 1 << (bits - 1)
    return tagged(planes, "yuv420p" if bits == 8 else f"yuv420p{bits}le", **tags)
