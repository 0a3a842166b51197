"""Convert a decoded frame to RGB: color matrix, range, transfer function, primaries and transparency.

Works on frames, not on files. Does not access `frame.side_data`, which would keep every frame in memory (see
`side_data`).
"""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from refilm.errors import UserError
from refilm.media.color import Colors, declared_colors, to_srgb

Size = tuple[int, int]
"""Height and width."""
EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT  # the default is darker by 1
MATRICES = (0, 1, 4, 5, 6, 7, 9)  # code points of H.273 that FFmpeg's scaler converts
FORMATS = {(False, False): "rgb24", (False, True): "rgb48le", (True, False): "rgba", (True, True): "rgba64le"}
UNTAGGED = (2, 3)  # "unspecified" and "reserved"


def colors_of(frame: VideoFrame) -> Colors | None:
    """The color space of a frame. None: SDR video."""
    return declared_colors(frame.color_trc, frame.color_primaries)


def has_alpha(frame: VideoFrame) -> bool:
    """Whether the pixels of a frame can be transparent."""
    return any(component.is_alpha for component in frame.format.components)


def to_rgb(frame: VideoFrame, size: Size, how: Interpolation = EXACT) -> tuple[np.ndarray, bool]:
    """The frame's pixels, (H, W, 3) uint8 in sRGB on white, not rotated yet; and whether some were transparent.

    YUV without a declared matrix is read as BT.709 if HD, otherwise as BT.601, as in players.

    Raises:
        UserError: the color matrix is not supported.
    """
    matrix = None
    if frame.colorspace in UNTAGGED:
        matrix = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    elif frame.colorspace not in MATRICES:
        raise UserError(
            f"its color matrix (code {frame.colorspace} of ITU-T H.273) is not supported; convert it to BT.709"
        )
    colors, alpha = colors_of(frame), has_alpha(frame)
    height, width = size
    pixels = frame.reformat(
        width=width,
        height=height,
        format=FORMATS[alpha, colors is not None],
        src_colorspace=matrix,
        interpolation=how,
    ).to_ndarray()
    if frame.format.name.startswith("gray") and frame.color_range == ColorRange.MPEG:
        pixels = _expanded(pixels)
    opaque = pixels[..., :3] if colors is None else to_srgb(pixels[..., :3], colors)
    if not alpha:
        return opaque, False
    return _on_white(opaque, pixels[..., 3])


def _expanded(pixels: np.ndarray) -> np.ndarray:
    """Convert limited range to full range, because FFmpeg's scaler reads all gray frames as full range."""
    most = np.iinfo(pixels.dtype).max
    black, white = 16 * (most // 255), 235 * (most // 255)
    return ((pixels.clip(black, white) - black) * (most / (white - black))).round().astype(pixels.dtype)


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, bool]:
    """Blend with white. Alpha is read as straight, not premultiplied, because files do not declare it."""
    opacity = alpha[..., None] / np.float32(np.iinfo(alpha.dtype).max)
    if opacity.min() == 1:
        return np.ascontiguousarray(pixels), False
    return (pixels * opacity + 255 * (1 - opacity)).round().astype(np.uint8), True
