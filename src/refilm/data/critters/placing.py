"""Where two critters move so that they stay apart: tracks over a whole clip, of smaller critters than one alone.

Tracks are drawn until the two come no nearer than they should; where motions leave no such place, the best drawn
counts. Knows nothing of subjects and scenes.
"""

import numpy as np

from refilm.data.critters.motions import STEP, Track, track

SMALLER = 0.6  # of the radius that a critter has when it is alone
ROOM = 1.05  # in radii: what must stay in sight around a critter's middle
APART = 1.15  # in the sum of both radii: bodies reach a little beyond them
DRAWS = 100


def two_tracks(motions: tuple[str, str], frames: int, rng: np.random.Generator) -> tuple[Track, Track]:
    """Tracks of two motions over the first `frames` frames, in sight and apart as far as there is a place for both."""
    first, second = motions
    drawn = ((_somewhere(first, frames, rng), _somewhere(second, frames, rng)) for _ in range(DRAWS))
    best = next(drawn)
    for pair in drawn:
        if nearest(*best) >= APART:
            break
        best = max(best, pair, key=lambda tracks: nearest(*tracks))
    return best


def nearest(first: Track, second: Track) -> float:
    """How near the two come to each other: the least distance of their middles, in the sum of their radii."""
    distance = np.hypot(first.x - second.x, first.y - second.y)
    return float((distance / (first.radius + second.radius)).min())


def _somewhere(motion: str, frames: int, rng: np.random.Generator) -> Track:
    """A smaller critter's track anywhere in sight. A path that comes back is smaller too; others keep their pace."""
    alone = track(motion, np.arange(frames), rng)
    comes_back = alone.x[0] == alone.x[-1] and alone.y[0] == alone.y[-1]
    radius = SMALLER * alone.radius
    x, y = (_moved(along, radius, rng, share=SMALLER if comes_back else 1.0) for along in (alone.x, alone.y))
    return Track(x, y, radius, alone.angle)


def _moved(along: np.ndarray, radius: np.ndarray, rng: np.random.Generator, *, share: float) -> np.ndarray:
    """One coordinate, its way shortened to a share, begun elsewhere; all by whole steps."""
    way = np.round(share * (along - along[0]) / STEP) * STEP
    least = np.ceil(-(way - ROOM * radius).min() / STEP)
    most = np.floor((1 - (way + ROOM * radius).max()) / STEP)
    return way + STEP * int(rng.integers(least, most + 1))
