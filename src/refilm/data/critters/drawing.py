"""Draw critters: signed distance fields of bodies, patterns and eyes, painted onto canvases.

A body is defined in its own coordinates: radius about 1, x to the right, y down. Signed distances are negative
inside. Hard edges give pixel art, soft edges give a smooth image.
"""

from collections.abc import Callable

import numpy as np

from refilm.data.critters.motions import Track
from refilm.data.critters.subjects import COLORS, Subject

INK = np.array((26, 22, 38), dtype=np.float32)
CHALK = np.array((252, 252, 252), dtype=np.float32)
OUTLINE = 0.11  # in body radii: one pixel of a 32-pixel video
REACH = 1.4  # in body radii: largest distance of any part of a critter from its center

Field = np.ndarray  # one value a pixel


def _length(x: Field, y: Field) -> Field:
    return np.sqrt(x * x + y * y)  # np.hypot handles overflow but takes three times as long


def _circle(x: Field, y: Field, cx: float, cy: float, radius: float) -> Field:
    return _length(x - cx, y - cy) - radius


def _box(x: Field, y: Field, half_w: float, half_h: float, corner: float) -> Field:
    dx, dy = np.abs(x) - half_w + corner, np.abs(y) - half_h + corner
    return _length(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - corner


def _capsule(x: Field, y: Field, x0: float, y0: float, x1: float, y1: float, radius: float) -> Field:
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
    return _length(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)) - radius


def _wedge(x: Field, y: Field, tip_x: float, tip_y: float, half_w: float, base_y: float) -> Field:
    """A triangle with its tip up; half width and height determine the slope of its sides."""
    height = base_y - tip_y
    slope = np.hypot(half_w, height)
    side = (np.abs(x - tip_x) * height - (y - tip_y) * half_w) / slope
    return np.maximum(side, y - base_y)


def _ball(x, y):
    return _circle(x, y, 0, 0, 0.95)


def _cube(x, y):
    return _box(x, y, 0.86, 0.86, 0.18)


def _cone(x, y):
    return _wedge(x, y, 0, -1.12, 1.05, 0.86)


def _star(x, y):
    angle = (np.arctan2(x, -y) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5
    radius = _length(x, y)
    px, py = radius * np.abs(np.sin(angle)), radius * np.cos(angle)
    tip, notch = 1.22, 0.62
    nx, ny = notch * np.sin(np.pi / 5), notch * np.cos(np.pi / 5)
    return (px * (tip - ny) - (tip - py) * nx) / np.hypot(nx, tip - ny)


def _cat(x, y):
    ears = np.minimum(_wedge(x, y, -0.62, -1.16, 0.46, -0.05), _wedge(x, y, 0.62, -1.16, 0.46, -0.05))
    return np.minimum(_box(x, y - 0.16, 0.96, 0.74, 0.6), ears)


def _bunny(x, y):
    ears = np.minimum(_capsule(x, y, -0.36, -0.4, -0.46, -1.0, 0.23), _capsule(x, y, 0.36, -0.4, 0.46, -1.0, 0.23))
    return np.minimum(_circle(x, y, 0, 0.18, 0.82), ears)


def _ghost(x, y):
    dome = np.minimum(_circle(x, y, 0, -0.22, 0.82), _box(x, y - 0.34, 0.82, 0.56, 0.0))
    hem = np.minimum.reduce([_circle(x, y, cx, 0.95, 0.2) for cx in (-0.41, 0.41)])
    return np.maximum(dome, -hem)


def _heart(x, y):
    """Two arcs and two sides that meet at the tip; in unit coordinates, the tip is at (0, 0)."""
    px, py = np.abs(x) / 1.75, (0.98 - y) / 1.75
    lobe = _length(px - 0.25, py - 0.75) - np.sqrt(2) / 4
    fold = 0.5 * np.maximum(px + py, 0)
    flank = np.minimum(_length(px, py - 1), _length(px - fold, py - fold)) * np.sign(px - py)
    return 1.75 * np.where(px + py > 1, lobe, flank)


SHAPE_FIELDS: dict[str, Callable[[Field, Field], Field]] = {
    "ball": _ball,
    "box": _cube,
    "cone": _cone,
    "star": _star,
    "cat": _cat,
    "bunny": _bunny,
    "ghost": _ghost,
    "heart": _heart,
}


def _spots(x, y):
    return np.minimum.reduce([_circle(x, y, cx, cy, 0.25) for cx, cy in ((0.0, -0.66), (-0.52, 0.5), (0.52, 0.5))])


PATTERN_FIELDS: dict[str, Callable[[Field, Field], Field]] = {
    "striped": lambda x, y: np.abs((y + 0.06) % 0.8 - 0.4) - 0.15,
    "spotted": _spots,
    "bellied": lambda x, y: _length(x / 1.15, y - 0.58) - 0.44,
    "capped": lambda x, y: y + 0.34,
    "split": lambda x, y: x,
}


def _wide_eyes(x, y):
    white = np.minimum(_circle(x, y, -0.32, -0.02, 0.24), _circle(x, y, 0.32, -0.02, 0.24))
    pupil = np.minimum(_circle(x, y, -0.28, 0.02, 0.13), _circle(x, y, 0.28, 0.02, 0.13))
    return white, pupil


def _sleepy_eyes(x, y):
    lids = np.minimum(_capsule(x, y, -0.46, 0.04, -0.2, 0.04, 0.07), _capsule(x, y, 0.2, 0.04, 0.46, 0.04, 0.07))
    return None, lids


def _single_eye(x, y):
    return _circle(x, y, 0, 0.0, 0.31), _circle(x, y, 0, 0.02, 0.16)


EYE_FIELDS = {"wide": _wide_eyes, "sleepy": _sleepy_eyes, "single": _single_eye}


def _blend(pixels: np.ndarray, field: Field, pixel: Field, color: np.ndarray, soft: bool) -> None:
    """Paint `color` onto `pixels` (3, N) where `field` is negative; `pixel` is the pixel width in the field's units."""
    if soft:
        pixels += np.clip(0.5 - field / pixel, 0, 1) * (color[:, None] - pixels)
    else:
        np.copyto(pixels, color[:, None], where=field < 0)


def draw(canvas: np.ndarray, subject: Subject, track: Track, *, soft: bool = False) -> np.ndarray:
    """Draw a critter into every frame of `canvas` (F, H, W, 3), 0..255, in place, at the poses of `track`.

    `soft` smooths edges over one pixel; without it the result is pixel art. Returns the silhouette (F, H, W), bool.
    """
    frames, height, width, _ = canvas.shape
    shape = (frames, 1, 1)
    x = (np.arange(width) + 0.5) / width - track.x.reshape(shape)  # (F, 1, W)
    y = ((np.arange(height) + 0.5) / height)[:, None] - track.y.reshape(shape)  # (F, H, 1)
    near = x**2 + y**2 < (REACH * track.radius.reshape(shape) + 1.5 / width) ** 2  # (F, H, W)
    places = np.flatnonzero(near)  # only these N pixels are computed
    frame = places // (height * width)
    x, y = np.broadcast_to(x, near.shape)[near], np.broadcast_to(y, near.shape)[near]
    cos, sin, radius = np.cos(track.angle)[frame], np.sin(track.angle)[frame], track.radius[frame]
    x, y = (x * cos + y * sin) / radius, (y * cos - x * sin) / radius
    pixel = 1 / (width * radius)

    body = SHAPE_FIELDS[subject.shape](x, y)
    inside = body + OUTLINE
    pattern = np.maximum(inside, PATTERN_FIELDS[subject.pattern](x, y))
    white, pupil = EYE_FIELDS[subject.eyes](x, y)
    flat = canvas.reshape(-1, 3)
    assert np.may_share_memory(flat, canvas)  # the canvas is drawn to, not a copy
    pixels = np.ascontiguousarray(flat.take(places, axis=0).T)  # (3, N)
    _blend(pixels, body, pixel, INK, soft)
    _blend(pixels, inside, pixel, np.array(COLORS[subject.color], dtype=np.float32), soft)
    _blend(pixels, pattern, pixel, np.array(COLORS[subject.second], dtype=np.float32), soft)
    if white is not None:
        _blend(pixels, white, pixel, CHALK, soft)
    _blend(pixels, pupil, pixel, INK, soft)
    flat[places] = pixels.T
    near.reshape(-1)[places] = body < 0
    return near
