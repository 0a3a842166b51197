"""Scores of videos: each file is decoded once, and the metrics score it one after another.

Scores are stored under the hash of everything that they depend on, so a second call computes only what is missing.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard

import numpy as np
from pydantic import Field

from refilm.errors import UserError, is_of_one_video
from refilm.evaluation.answer import Answer
from refilm.evaluation.case import Case, Sample
from refilm.evaluation.identity import hashed, identity_of
from refilm.evaluation.masks import mask_file, read_masks
from refilm.evaluation.metric import Metric
from refilm.evaluation.result import Number, ScoredVideo, Text, Values
from refilm.files import describe, read_json, sha256_of, write_json
from refilm.media import open_image, open_video
from refilm.settings import Settings

FOLDER, FORMAT = ".scores", 1
SEGMENT = "_segment"
"""End of the names of metrics that score the subject's segment, which masks show."""
STRIP = 16
"""Ratio of sides above which nothing is scored."""


class Scores(Settings):
    """What is stored of a scored video; the names are those of `ScoredVideo`."""

    scores: dict[Text, Number] = Field(default_factory=dict)
    curves: dict[Text, tuple[Number, ...]] = Field(default_factory=dict)
    errors: dict[Text, Text] = Field(default_factory=dict)
    notes: Values = Field(default_factory=dict)


class Scorer:
    """Scores videos with some metrics.

    Args:
        metrics: the metrics by name.
        out: folder of the result; scores are stored in it, and paths are relative to it.
    """

    def __init__(self, metrics: Mapping[str, Metric], out: Path):
        self.metrics, self.out = metrics, out
        (out / FOLDER).mkdir(parents=True, exist_ok=True)

    def score(self, answer: Answer) -> ScoredVideo:
        """The scores of a case. Without a readable video, each column has its worst value, and `error` says why.

        Raises:
            UserError: an image of the subject or its mask cannot be read, or the image is a strip.
            OSError: scores cannot be stored.
        """
        file, case = answer.file, answer.case
        if file is None:
            return self._failed(answer, answer.error or "there is no video")
        try:
            sha256 = sha256_of(file)
        except OSError as error:
            return self._failed(answer, describe(error))
        mask = mask_file(file)
        stored = self.out / FOLDER / f"{self._key(case, sha256, mask)}.json"
        if (found := self._stored(stored)) is None:
            subject = tuple(map(_image, case.subject))
            masks = tuple(map(_mask, case.subject)) if self._needs_masks else ()
            try:
                found = self._computed(_sample(case, file, subject, masks), mask if self._needs_masks else None)
            except Exception as error:
                if not is_of_one_video(error):
                    raise
                return self._failed(answer, _line(error), sha256=sha256)
            write_json(stored, found.to_values())
        return self._scored(answer, found, sha256=sha256)

    @property
    def _needs_masks(self) -> bool:
        return any(name.endswith(SEGMENT) for name in self.metrics)

    def _stored(self, path: Path) -> Scores | None:
        """The scores in a file; None if there are none, or not those of all columns: they are computed again then."""
        try:
            found = Scores.from_values(read_json(path))
        except UserError:
            return None
        return found if found.scores.keys() == self._worst().keys() else None

    def _worst(self) -> dict[str, float]:
        return {column.name: float(column.worst) for metric in self.metrics.values() for column in metric.columns}

    def _key(self, case: Case, sha256: str, mask: Path | None) -> str:
        identities = {name: dict(metric.identity) for name, metric in self.metrics.items()}
        return hashed([FORMAT, sha256, sha256_of(mask) if mask else None, identity_of(case), identities])

    def _computed(self, sample: Sample, mask: Path | None) -> Scores:
        """The scores of a video. Only metrics of the subject's segment read its mask, and fail if it is broken."""
        scores: dict[str, float] = {}
        curves: dict[str, tuple[float, ...]] = {}
        errors: dict[str, str] = {}
        for name, metric in self.metrics.items():
            try:
                if mask is not None and sample.masks is None and name.endswith(SEGMENT):
                    sample = replace(sample, masks=read_masks(mask, sample.frames.shape[:3]))
                values = _checked(metric, metric.score(sample))
            except (UserError, OSError) as error:
                errors[name] = _line(error)
                values = {column.name: column.worst for column in metric.columns}
            scores |= {column: float(np.mean(value)) for column, value in values.items()}
            curves |= {column: tuple(map(float, value)) for column, value in values.items() if _is_curve(value)}
        frames, height, width, _ = sample.frames.shape
        notes: Values = {"width": width, "height": height, "frames": frames, "fps": sample.fps}
        return Scores(scores=scores, curves=curves, errors=errors, notes=notes)

    def _failed(self, answer: Answer, error: str, *, sha256: str | None = None) -> ScoredVideo:
        return self._scored(answer, Scores(scores=self._worst()), error=error, sha256=sha256)

    def _scored(self, answer: Answer, found: Scores, *, sha256: str | None, error: str | None = None) -> ScoredVideo:
        case = answer.case
        return ScoredVideo(
            case=case.name,
            control=case.control,
            group=case.group,
            prompt=case.prompt,
            seed=case.seed,
            subject=tuple(map(self._relative, case.subject)),
            file=None if answer.file is None else self._relative(answer.file),
            sha256=sha256,
            error=error,
            **dict(found),
        )

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path.resolve(), self.out.resolve())


def _sample(
    case: Case, file: Path, images: tuple[np.ndarray, ...], image_masks: tuple[np.ndarray | None, ...]
) -> Sample:
    """A case with its video.

    Raises:
        UserError: the video cannot be read, or is a strip.
    """
    video = open_video(file)
    _require_no_strip(file, *video.frames.shape[1:3])
    return Sample(case, video.frames, video.fps, images, subject_masks=image_masks)


def _require_no_strip(file: Path, height: int, width: int) -> None:
    """Metrics scale the shorter side to some hundred pixels, which would make the longer one of a strip enormous."""
    if max(height, width) > STRIP * min(height, width):
        raise UserError(f"{file}: {width} x {height} pixels; the longer side may be at most {STRIP} times the shorter")


def _checked(metric: Metric, values: Mapping[str, float | Sequence[float]]) -> Mapping[str, float | Sequence[float]]:
    """The values of a metric.

    Raises:
        UserError: a value is not finite, which no table can count.
    """
    assert set(values) == {column.name for column in metric.columns}, f"{metric}: has other columns than it declares"
    for column, value in values.items():
        if not np.size(value) or not np.isfinite(value).all():
            raise UserError(f"{column}: the metric returned {value!r:.100}, which is not a finite number")
    return values


def _is_curve(value: float | Sequence[float]) -> TypeGuard[Sequence[float]]:
    return np.ndim(value) == 1


@lru_cache(maxsize=64)
def _image(path: Path) -> np.ndarray:
    """An image (H, W, 3) uint8, which the videos of all controls share."""
    image = np.asarray(open_image(path))
    _require_no_strip(path, *image.shape[:2])
    return image


def _mask(path: Path) -> np.ndarray | None:
    """The mask beside an image, (H, W) bool; None without one."""
    mask = mask_file(path)
    return None if mask is None else read_masks(mask, (1, *_image(path).shape[:2]))[0]


def _line(error: Exception) -> str:
    """An error in one line."""
    text = describe(error) if isinstance(error, OSError) else str(error)
    return " ".join((text or type(error).__name__).split())
