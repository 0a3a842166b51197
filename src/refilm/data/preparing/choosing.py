"""Choose the reference of one clip: the sharpest of several candidate frames, whole or cut out along a mask.

Runs in worker processes. The allowed sources of frames are decided by the caller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from refilm.data.augmentation import cut_out
from refilm.data.checking.hashes import ImageHash, image_hashes, similar
from refilm.data.examples import VIDEOS
from refilm.data.preparing.moments import VideoParts, moments, until
from refilm.errors import UserError
from refilm.media import duration, open_frames, open_mask
from refilm.media.colors import Color
from refilm.media.inspecting import inspect_video, tiny_image

SIDE = 512  # pixels; frames are compared at one size, because small frames have a higher measure
MASK_LATE = 0.5  # seconds


@dataclass(frozen=True)
class FrameRequest:
    """A request for a reference of a clip."""

    video: Path
    start: float
    learned: float
    """End of the part of the clip that is used in training, in seconds."""
    places: tuple[tuple[VideoParts, ...], ...]
    """Preferred places first; the next ones are used if a place has no suitable frames."""
    min_distance: float
    """Minimum distance from the clip's first frame in its own video, in seconds."""
    candidates: int
    """Number of frames to choose from."""
    background: Color | None
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

    def identity(self, hashes: Mapping[Path, str]) -> str:
        """Everything that determines the result: contents and numbers, no paths."""
        places = [
            [(hashes[place.video], place.spans, place.mask and hashes[place.mask]) for place in level]
            for level in self.places
        ]
        return repr(
            (hashes[self.video], self.start, self.learned, places, self.min_distance, self.candidates, self.background)
        )


@dataclass(frozen=True)
class ChosenFrame:
    """A chosen frame."""

    image: Image.Image
    video: Path
    second: float
    masked: bool
    """Whether the subject is cut out along a mask."""


def choose_frame(request: FrameRequest, rng: np.random.Generator) -> ChosenFrame:
    """The sharpest frame of the first place with suitable frames.

    Raises:
        UserError: there is no suitable frame (the error gives the reasons), or a file cannot be read.
    """
    ((first_time, first),) = open_frames(request.video, [request.start])
    learned = image_hashes(inspect_video(request.video, start=request.start, end=request.learned).tiny)
    reasons = []
    for places in request.places:
        try:
            return _sharpest(request, places, rng, first_time, image_hash(first), learned)
        except _NoRoomError as reason:
            reasons.append(str(reason))
    raise UserError(
        f"{request.video}: found no reference for the clip at {request.start:g} s: "
        f"{'; '.join(dict.fromkeys(reasons))}; "
        "add an image, set the `subject` that it has in common with other clips, or reduce the minimum distance"
    )


class _NoRoomError(Exception):
    """The places have no suitable frame."""


def _sharpest(
    request: FrameRequest,
    places: tuple[VideoParts, ...],
    rng: np.random.Generator,
    first_time: float,
    first: ImageHash,
    learned: Sequence[ImageHash],
) -> ChosenFrame:
    room = [(place, spans) for place in places if (spans := until(place.spans, duration(place.video)))]
    if not room:
        raise _NoRoomError(f"no frame is {request.min_distance:g} s away from its first")
    counts = np.bincount(np.arange(request.candidates) % len(room), minlength=len(room))
    frames = [
        (place, second, frame)
        for (place, spans), count in zip(room, counts, strict=True)
        for second, frame in open_frames(place.video, moments(spans, int(count), rng))
        if place.video != request.video or abs(second - first_time) >= max(request.min_distance, 1e-3) - 1e-6
    ]
    if not frames:
        raise _NoRoomError(f"no frame is {request.min_distance:g} s away from its first")
    frames = [found for found in frames if not similar(image_hash(found[2]), first)]
    if not frames:
        raise _NoRoomError("every frame is nearly identical to its first")

    def rank(found: tuple[VideoParts, float, np.ndarray]) -> tuple[bool, float]:
        """Sort key: the sharpest first, copies of training frames last."""
        place, second, frame = found
        within = place.video == request.video and first_time <= second < request.learned
        return within or any(similar(image_hash(frame), one) for one in learned), -sharpness(frame)

    for place, second, frame in sorted(frames, key=rank):
        image = Image.fromarray(frame)
        if request.background is None or place.mask is None:
            return ChosenFrame(image, place.video, second, masked=False)
        mask = mask_at(place.mask, second)
        if mask.getextrema() != (0, 0):
            return ChosenFrame(cut_out(image, mask, request.background), place.video, second, masked=True)
    raise _NoRoomError("its mask is black in every candidate frame")


def mask_at(mask: Path, second: float) -> Image.Image:
    """A clip's mask at a time of its video; an image mask applies to all times."""
    if mask.suffix.lower() not in VIDEOS:
        return open_mask(mask)
    ((time, frame),) = open_frames(mask, [second])
    if abs(time - second) > MASK_LATE:
        raise UserError(f"{mask}: has no frame near {second:g} s; use a mask that is as long as its video")
    return Image.fromarray(frame).convert("L")


def sharpness(frame: np.ndarray) -> float:
    """The variance of the Laplacian of an (H, W, 3) frame at a common size: small for blurred frames."""
    image = Image.fromarray(frame).convert("L")
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    gray = np.asarray(image, dtype=np.float64)
    across = gray[:, :-2] - 2 * gray[:, 1:-1] + gray[:, 2:]
    down = gray[:-2] - 2 * gray[1:-1] + gray[2:]
    return float((across[1:-1] + down[:, 1:-1]).var())


def image_hash(frame: np.ndarray) -> ImageHash:
    """The perceptual hash of an (H, W, 3) frame, as in `checking`."""
    return image_hashes(tiny_image(Image.fromarray(frame))[None])[0]
