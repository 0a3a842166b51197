"""The six background scenes of critters, painted as flat layers.

A scene is a function (x, y, rng) -> RGB with x and y in frame units (0..1, y down); `rng` moves the horizon and the
small objects. Does not depend on subjects.
"""

from collections.abc import Callable

import numpy as np

Canvas = np.ndarray  # (H, W, 3), 0..255


def _fill(x: np.ndarray, *stops: tuple[float, tuple[int, int, int]], y: np.ndarray) -> Canvas:
    """Horizontal bands: each stop fills everything from its height downwards."""
    canvas = np.zeros((*x.shape, 3), dtype=np.float32)
    for top, color in stops:
        canvas[y >= top] = color
    return canvas


def _disc(canvas, x, y, cx, cy, radius, color):
    canvas[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = color


def _hills(canvas, x, y, base, height, period, phase, color):
    canvas[y > base - height * (0.5 + 0.5 * np.sin(2 * np.pi * (x / period + phase)))] = color


def _meadow(x, y, rng):
    horizon = 0.56 + rng.uniform(-0.06, 0.06)
    canvas = _fill(x, (0.0, (138, 206, 245)), y=y)
    _disc(canvas, x, y, rng.uniform(0.1, 0.9), 0.12, 0.09, (255, 244, 200))
    _hills(canvas, x, y, horizon, 0.10, 0.9, rng.random(), (126, 198, 112))
    _hills(canvas, x, y, horizon + 0.16, 0.07, 0.7, rng.random(), (98, 176, 92))
    for _ in range(6):
        flower = [(250, 240, 150), (250, 190, 220), (255, 255, 255)][rng.integers(3)]
        _disc(canvas, x, y, rng.random(), rng.uniform(horizon + 0.18, 1.0), 0.02, flower)
    return canvas


def _beach(x, y, rng):
    horizon = 0.40 + rng.uniform(-0.05, 0.05)
    canvas = _fill(x, (0.0, (168, 222, 240)), (horizon, (66, 160, 196)), (horizon + 0.13, (96, 190, 210)), y=y)
    _disc(canvas, x, y, rng.uniform(0.1, 0.9), 0.14, 0.10, (255, 226, 130))
    _hills(canvas, x, y, horizon + 0.28, 0.05, 0.8, rng.random(), (238, 216, 164))
    for _ in range(4):
        _disc(canvas, x, y, rng.random(), rng.uniform(horizon + 0.32, 1.0), 0.022, (214, 186, 134))
    return canvas


def _night(x, y, rng):
    horizon = 0.66 + rng.uniform(-0.06, 0.06)
    canvas = _fill(x, (0.0, (28, 32, 70)), (0.35, (40, 44, 92)), y=y)
    for _ in range(9):
        _disc(canvas, x, y, rng.random(), rng.uniform(0.0, horizon), 0.018, (230, 230, 200))
    moon = rng.uniform(0.12, 0.88)
    _disc(canvas, x, y, moon, 0.15, 0.10, (246, 240, 206))
    _disc(canvas, x, y, moon + 0.05, 0.12, 0.085, (28, 32, 70))
    _hills(canvas, x, y, horizon, 0.12, 1.1, rng.random(), (44, 60, 84))
    return canvas


def _snow(x, y, rng):
    horizon = 0.54 + rng.uniform(-0.05, 0.05)
    canvas = _fill(x, (0.0, (188, 208, 226)), y=y)
    for _ in range(4):
        cx, top = rng.random(), horizon - rng.uniform(0.16, 0.26)
        canvas[(np.abs(x - cx) < (y - top) * 0.4) & (y < horizon + 0.02)] = (72, 116, 110)
    _hills(canvas, x, y, horizon + 0.04, 0.06, 0.9, rng.random(), (232, 240, 248))
    _hills(canvas, x, y, horizon + 0.24, 0.06, 0.7, rng.random(), (214, 228, 242))
    return canvas


def _desert(x, y, rng):
    horizon = 0.52 + rng.uniform(-0.05, 0.05)
    canvas = _fill(x, (0.0, (250, 202, 140)), (0.22, (250, 180, 116)), y=y)
    _disc(canvas, x, y, rng.uniform(0.15, 0.85), 0.24, 0.11, (255, 240, 190))
    _hills(canvas, x, y, horizon, 0.10, 1.2, rng.random(), (214, 140, 82))
    _hills(canvas, x, y, horizon + 0.20, 0.10, 0.9, rng.random(), (190, 114, 66))
    cx = rng.random()
    canvas[(np.abs(x - cx) < 0.035) & (y > horizon - 0.14) & (y < horizon + 0.14)] = (86, 130, 74)
    return canvas


def _forest(x, y, rng):
    floor = 0.72 + rng.uniform(-0.05, 0.05)
    canvas = _fill(x, (0.0, (56, 104, 84)), (0.3, (72, 124, 92)), y=y)
    for _ in range(5):
        cx, half = rng.random(), rng.uniform(0.03, 0.055)
        canvas[np.abs(x - cx) < half] = (84, 62, 50)
    canvas[y < 0.12 + 0.05 * np.sin(2 * np.pi * (x / 0.3 + rng.random()))] = (40, 84, 66)
    _hills(canvas, x, y, floor, 0.06, 0.8, rng.random(), (104, 86, 60))
    return canvas


SCENES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], Canvas]] = {
    "meadow": _meadow,
    "beach": _beach,
    "night": _night,
    "snow": _snow,
    "desert": _desert,
    "forest": _forest,
}


def paint_scene(scene: str, size: int, rng: np.random.Generator) -> Canvas:
    """The background of `scene`, `size` pixels square: (size, size, 3) float32, 0..255."""
    centers = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(centers, centers)
    return SCENES[scene](x, y, rng)
