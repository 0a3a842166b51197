"""The video parts that a clip's reference may come from. Opens no files.

With a reference that is part of the training target, the model learns to copy. So frames come from other places if
possible: other clips of the subject first, then the rest of the clip's own video, then the clip's later part.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refilm.data.examples import Example

Span = tuple[float, float]
"""Start and end in seconds; an infinite end means the end of the video."""

SPARE = 4  # additional samples, because some may be the clip itself or duplicates


@dataclass(frozen=True)
class VideoParts:
    """A video and the parts of it that frames can come from."""

    video: Path
    spans: tuple[Span, ...]
    mask: Path | None
    """A mask that is white where the subject is in the video."""


@dataclass(frozen=True)
class Related:
    """The other clips of a manifest that are relevant for one clip."""

    same_subject: tuple[Example, ...]
    """Other clips of the same subject, all videos."""
    still: Example | None
    """Another still of the same subject, if there is one."""
    same_video: tuple[Example, ...]
    """Other clips of the same video without the same subject name."""


class RelatedClips:
    """The clips of a manifest, indexed by subject and by video."""

    def __init__(self, examples: Iterable[Example]):
        self._by_subject: dict[tuple[str | None, bool], list[Example]] = {}
        self._by_video: dict[Path, list[Example]] = {}
        for example in examples:
            self._by_subject.setdefault((example.subject, example.still), []).append(example)
            self._by_video.setdefault(example.video, []).append(example)

    def of(self, example: Example, *, most: int, rng: np.random.Generator) -> Related:
        """The related clips of a clip, with a random sample of at most `most` clips of the same subject."""
        same_subject = self._sampled(example, most, rng, still=False)
        stills = self._sampled(example, 1, rng, still=True)
        same_video = (
            other
            for other in self._by_video[example.video]
            if _clip(other) != _clip(example) and (other.subject is None or other.subject != example.subject)
        )
        return Related(tuple(same_subject), next(iter(stills), None), tuple(same_video))

    def _sampled(self, example: Example, most: int, rng: np.random.Generator, *, still: bool) -> list[Example]:
        group = [] if example.subject is None else self._by_subject.get((example.subject, still), [])
        sampled = rng.choice(len(group), min(len(group), most + SPARE), replace=False) if group else []
        return [other for index in sampled if _clip(other := group[index]) != _clip(example)][:most]


def places(example: Example, related: Related, min_distance: float) -> tuple[tuple[VideoParts, ...], ...]:
    """Places for a clip's reference, preferred ones first. Videos can be too short for any of them.

    In the clip's own video, all places are at least `min_distance` seconds away from the whole clip, except for the
    last place, the clip's own later part, which is that far away from its first frame.
    """
    start, end = _range(example)
    near = (start - min_distance, end + min_distance)
    same_subject = []
    for other in related.same_subject:
        spans = [_range(other)]
        same_subject.append(
            VideoParts(
                other.video, tuple(_without(spans, *near) if other.video == example.video else spans), other.mask
            )
        )
    outside = _without([(0.0, math.inf)], *near)
    for other in related.same_video:
        outside = _without(outside, *_range(other))
    own = (outside, [(start + min_distance, end)] if start + min_distance < end else [])
    return (tuple(same_subject), *((VideoParts(example.video, tuple(spans), example.mask),) for spans in own))


def moments(spans: Sequence[Span], count: int, rng: np.random.Generator) -> list[float]:
    """`count` times, stratified: the spans are divided into `count` equal parts with one random time in each."""
    lengths = np.array([end - start for start, end in spans])
    ends = lengths.cumsum()
    sampled = (np.arange(count) + rng.random(count)) / count * ends[-1]
    which = np.searchsorted(ends, sampled, side="right").clip(max=len(spans) - 1)
    return [float(spans[index][0] + at - (ends - lengths)[index]) for index, at in zip(which, sampled, strict=True)]


def until(spans: Sequence[Span], end: float) -> list[Span]:
    """The parts of spans before `end`."""
    return [(start, min(stop, end)) for start, stop in spans if start < end]


def _clip(example: Example) -> tuple[Path, Span]:
    return example.video, _range(example)


def _range(example: Example) -> Span:
    return example.start or 0.0, math.inf if example.end is None else example.end


def _without(spans: Iterable[Span], low: float, high: float) -> list[Span]:
    """Spans without the part between `low` and `high`."""
    parts = [part for start, end in spans for part in ((start, min(end, low)), (max(start, high), end))]
    return [(start, end) for start, end in parts if start < end]
