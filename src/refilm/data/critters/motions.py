"""The ten motions of critters, each a track of poses over the frames of a clip.

Coordinates are in frame units (0..1, y down), and steps are multiples of 1/32, so a clip drawn at 32 or 64 pixels
moves by whole pixels and a VAE with four frames per latent frame can represent it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEP = 1 / 32


@dataclass(frozen=True)
class Track:
    """A critter's pose in each frame: `x`, `y`, `radius` in frame units, `angle` in radians. Each (F,)."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray


def _track(t: np.ndarray, x=0.0, y=0.0, radius=0.30, angle=0.0) -> Track:
    snap = lambda v: np.round((v + np.zeros_like(t)) / STEP) * STEP  # noqa: E731
    return Track(snap(x), snap(y), radius + np.zeros_like(t), angle + np.zeros_like(t))


def _near(rng: np.random.Generator, center: float, steps: int = 2) -> float:
    return center + STEP * int(rng.integers(-steps, steps + 1))


def _moves_left(t, rng):
    return _track(t, x=_near(rng, 0.75, 1) - STEP * t, y=_near(rng, 0.60))


def _moves_right(t, rng):
    return _track(t, x=_near(rng, 0.25, 1) + STEP * t, y=_near(rng, 0.60))


def _rises(t, rng):
    return _track(t, x=_near(rng, 0.50, 4), y=_near(rng, 0.74, 1) - STEP * t)


def _falls(t, rng):
    return _track(t, x=_near(rng, 0.50, 4), y=_near(rng, 0.26, 1) + STEP * t)


def _bounces(t, rng):
    phase = (t % 8) / 8
    height = 5 * STEP * 4 * phase * (1 - phase)
    return _track(t, x=_near(rng, 0.50, 4), y=_near(rng, 0.64) - height)


def _circles(t, rng):
    turn = 2 * np.pi * (t / 16 + rng.random())
    reach = 5 * STEP
    return _track(t, x=_near(rng, 0.50) + reach * np.cos(turn), y=_near(rng, 0.52) + reach * np.sin(turn))


def _grows(t, rng):
    return _track(t, x=_near(rng, 0.50, 4), y=_near(rng, 0.56), radius=0.18 + 0.18 * t / 16)


def _shrinks(t, rng):
    return _track(t, x=_near(rng, 0.50, 4), y=_near(rng, 0.56), radius=0.36 - 0.18 * t / 16)


def _spins(t, rng):
    return _track(t, x=_near(rng, 0.50, 4), y=_near(rng, 0.56), angle=np.pi * t / 16)


def _waits(t, rng):
    return _track(t, x=_near(rng, 0.50, 5), y=_near(rng, 0.58))


MOTIONS: dict[str, Callable[[np.ndarray, np.random.Generator], Track]] = {
    "moves left": _moves_left,
    "moves right": _moves_right,
    "rises": _rises,
    "falls": _falls,
    "bounces": _bounces,
    "circles": _circles,
    "grows": _grows,
    "shrinks": _shrinks,
    "spins": _spins,
    "waits": _waits,
}


def track(motion: str, frames: np.ndarray, rng: np.random.Generator) -> Track:
    """The poses of `motion` at the given frame numbers (8 fps); `rng` chooses the position."""
    return MOTIONS[motion](frames.astype(np.float64), rng)
