"""Place two critters so that they stay apart: tracks over a whole clip, with smaller critters than in single clips.

Tracks are sampled until the two stay far enough apart; if no sample does, the best one is used. Does not depend on
subjects or scenes.
"""

import numpy as np

from refilm.data.critters.motions import STEP, Track, track

SMALLER = 0.6  # fraction of the radius in single clips
ROOM = 1.05  # in radii: how much around a critter's center must stay visible
APART = 1.15  # in units of the sum of both radii; bodies extend slightly beyond their radius
ATTEMPTS = 100


def two_tracks(motions: tuple[str, str], frames: int, rng: np.random.Generator) -> tuple[Track, Track]:
    """Tracks of two motions over the first `frames` frames, visible and as far apart as required if possible."""
    first, second = motions
    samples = ((_somewhere(first, frames, rng), _somewhere(second, frames, rng)) for _ in range(ATTEMPTS))
    best = next(samples)
    for pair in samples:
        if nearest(*best) >= APART:
            break
        best = max(best, pair, key=lambda tracks: nearest(*tracks))
    return best


def nearest(first: Track, second: Track) -> float:
    """The smallest distance of the two centers, in units of the sum of their radii."""
    distance = np.hypot(first.x - second.x, first.y - second.y)
    return float((distance / (first.radius + second.radius)).min())


def _somewhere(motion: str, frames: int, rng: np.random.Generator) -> Track:
    """A smaller critter's track at a random visible position. Closed paths are shrunk too; others keep their speed."""
    alone = track(motion, np.arange(frames), rng)
    comes_back = alone.x[0] == alone.x[-1] and alone.y[0] == alone.y[-1]
    radius = SMALLER * alone.radius
    x, y = (_moved(along, radius, rng, scale=SMALLER if comes_back else 1.0) for along in (alone.x, alone.y))
    return Track(x, y, radius, alone.angle)


def _moved(along: np.ndarray, radius: np.ndarray, rng: np.random.Generator, *, scale: float) -> np.ndarray:
    """One coordinate, its path scaled by a factor and moved to a random start, in whole steps."""
    way = np.round(scale * (along - along[0]) / STEP) * STEP
    least = np.ceil(-(way - ROOM * radius).min() / STEP)
    most = np.floor((1 - (way + ROOM * radius).max()) / STEP)
    return way + STEP * int(rng.integers(least, most + 1))
