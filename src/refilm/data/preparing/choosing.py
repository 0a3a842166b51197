"""Choose the reference of one clip: the sharpest of several candidate frames, whole or cut out along a mask.

Runs in worker processes. The allowed sources of frames are decided by the caller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from refilm.data.checking.hashes import Look, looks, same
from refilm.data.examples import VIDEOS
from refilm.data.preparing.moments import Place, moments, until
from refilm.data.views import cut_out
from refilm.media import duration, open_frames, open_mask
from refilm.media.images import Color
from refilm.media.inspecting import inspect_video, tiny_image

SIDE = 512  # pixels; frames are compared at one size, because small frames have a higher measure
MASK_LATE = 0.5  # seconds


@dataclass(frozen=True)
class Wish:
    """A request for a reference of a clip."""

    video: Path
    start: float
    learned: float
    """End of the part of the clip that is used in training, in seconds."""
    places: tuple[tuple[Place, ...], ...]
    """Preferred places first; the next ones are used if a place has no suitable frames."""
    min_distance: float
    """Minimum distance from the clip's first frame in its own video, in seconds."""
    candidates: int
    """Number of frames to choose from."""
    ground: Color | None
    """Background color for subjects with a mask; None uses whole frames."""

    @property
    def source(self) -> Path:
        """The file that the result is named after."""
        return self.video

    @property
    def files(self) -> tuple[Path, ...]:
        """All input files."""
        places = [place for level in self.places for place in level]
        return (self.video, *(place.video for place in places), *(place.mask for place in places if place.mask))

    def meaning(self, hashes: Mapping[Path, str]) -> str:
        """Everything that determines the result: contents and numbers, no paths."""
        places = [
            [(hashes[place.video], place.spans, place.mask and hashes[place.mask]) for place in level]
            for level in self.places
        ]
        return repr(
            (hashes[self.video], self.start, self.learned, places, self.min_distance, self.candidates, self.ground)
        )


@dataclass(frozen=True)
class Found:
    """A chosen frame."""

    image: Image.Image
    video: Path
    second: float
    masked: bool
    """Whether the subject is cut out along a mask."""


def find(wish: Wish, rng: np.random.Generator) -> Found:
    """The sharpest frame of the first place with suitable frames.

    Raises:
        ValueError: there is no suitable frame (the error gives the reasons), or a file cannot be read.
    """
    ((begin, first),) = open_frames(wish.video, [wish.start])
    learned = looks(inspect_video(wish.video, start=wish.start, end=wish.learned).tiny)
    reasons = []
    for places in wish.places:
        try:
            return _sharpest(wish, places, rng, begin, look(first), learned)
        except _NoRoomError as reason:
            reasons.append(str(reason))
    raise ValueError(
        f"{wish.video}: found no reference for the clip at {wish.start:g} s: {'; '.join(dict.fromkeys(reasons))}; "
        "add an image, set the `subject` that it has in common with other clips, or reduce the minimum distance"
    )


class _NoRoomError(Exception):
    """The places have no suitable frame."""


def _sharpest(
    wish: Wish, places: tuple[Place, ...], rng: np.random.Generator, begin: float, first: Look, learned: Sequence[Look]
) -> Found:
    room = [(place, spans) for place in places if (spans := until(place.spans, duration(place.video)))]
    if not room:
        raise _NoRoomError(f"no frame is {wish.min_distance:g} s away from its first")
    shares = np.bincount(np.arange(wish.candidates) % len(room), minlength=len(room))
    frames = [
        (place, second, frame)
        for (place, spans), share in zip(room, shares, strict=True)
        for second, frame in open_frames(place.video, moments(spans, int(share), rng))
        if place.video != wish.video or abs(second - begin) >= max(wish.min_distance, 1e-3) - 1e-6
    ]
    if not frames:
        raise _NoRoomError(f"no frame is {wish.min_distance:g} s away from its first")
    frames = [found for found in frames if not same(look(found[2]), first)]
    if not frames:
        raise _NoRoomError("every frame is nearly identical to its first")

    def rank(found: tuple[Place, float, np.ndarray]) -> tuple[bool, float]:
        """Sort key: the sharpest first, copies of training frames last."""
        place, second, frame = found
        within = place.video == wish.video and begin <= second < wish.learned
        return within or any(same(look(frame), one) for one in learned), -sharpness(frame)

    for place, second, frame in sorted(frames, key=rank):
        image = Image.fromarray(frame)
        if wish.ground is None or place.mask is None:
            return Found(image, place.video, second, masked=False)
        mask = mask_at(place.mask, second)
        if mask.getextrema() != (0, 0):
            return Found(cut_out(image, mask, wish.ground), place.video, second, masked=True)
    raise _NoRoomError("its mask is black in every candidate frame")


def mask_at(mask: Path, second: float) -> Image.Image:
    """A clip's mask at a time of its video; an image mask applies to all times."""
    if mask.suffix.lower() not in VIDEOS:
        return open_mask(mask)
    ((time, frame),) = open_frames(mask, [second])
    if abs(time - second) > MASK_LATE:
        raise ValueError(f"{mask}: has no frame near {second:g} s; use a mask that is as long as its video")
    return Image.fromarray(frame).convert("L")


def sharpness(frame: np.ndarray) -> float:
    """The variance of the Laplacian of an (H, W, 3) frame at a common size: small for blurred frames."""
    image = Image.fromarray(frame).convert("L")
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    gray = np.asarray(image, dtype=np.float64)
    across = gray[:, :-2] - 2 * gray[:, 1:-1] + gray[:, 2:]
    down = gray[:-2] - 2 * gray[1:-1] + gray[2:]
    return float((across[1:-1] + down[:, 1:-1]).var())


def look(frame: np.ndarray) -> Look:
    """The perceptual hash of an (H, W, 3) frame, as in `checking`."""
    return looks(tiny_image(Image.fromarray(frame))[None])[0]
