"""OpenS2V-Eval (Yuan et al. 2025, arXiv 2505.20292), version 1.1: 180 prompts with images of one or several subjects.

The data are not part of refilm: download the data set BestWishYsh/OpenS2V-Eval and give its folder. Weights and ranges
are those of `eval/merge_result.py` of github.com/PKU-YuanGroup/OpenS2V-Nexus.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from refilm.errors import UserError
from refilm.evaluation.case import Case
from refilm.evaluation.result import Result
from refilm.evaluation.suites.controls import in_all_controls
from refilm.files import read_json
from refilm.settings import explain

FILE = "Open-Domain_Eval.json"
HUMAN = "Human-Domain"
"""Start of the name of the file that has weights of its own."""
Text = Annotated[str, Field(max_length=4096)]


@dataclass(frozen=True)
class Part:
    """A sub-score of the total."""

    weight: float
    human_weight: float
    """Weight in the human domain, which has no NexusScore."""
    low: float
    """The value that is normalized to 0; smaller ones are, too."""
    high: float
    """The value that is normalized to 1; larger ones are, too."""

    def normalized(self, values: Sequence[float]) -> float:
        """The mean of values, clipped one by one, as a number from 0 to 1."""
        return float((np.clip(values, self.low, self.high).mean() - self.low) / (self.high - self.low))


PARTS = {
    "aesthetic": Part(0.16, 0.18, 4, 7),
    "q_align_smoothness": Part(0.06, 0.09, 0, 1),
    "amplitude": Part(0.02, 0.03, 0, 1),
    "face_similarity": Part(0.20, 0.25, 0, 1),
    "gme": Part(0.12, 0.15, 0, 1),
    "nexus": Part(0.20, 0.0, 0, 0.05),
    "natural": Part(0.24, 0.30, 1, 5),
}
"""The sub-scores, by the names of metric and column."""


class _Entry(BaseModel):
    """What refilm reads of an entry; it has more."""

    prompt: str
    img_paths: list[Text] = Field(min_length=1, max_length=16)
    class_label: list[Text] = []


class OpenS2V:
    """The cases of the benchmark. The videos of control `right` have its own file names: `singleobj_1.mp4`.

    The benchmark scores 32 frames from the first to the last of a video of any length, so long videos are scored like
    short ones. It has no controls; the wrong reference is that of the next case of the same category.

    Args:
        data: the data set's folder, of which Open-Domain_Eval.json is read; or another file of it, such as
            Human-Domain_Eval.json.

    Raises:
        UserError: no folder is given.
    """

    name = "opens2v"
    version = "1.1-1"
    metrics: ClassVar[Sequence[str]] = (*PARTS, "efficientnet_i", "copy_paste", "motion")
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, data: Path | None = None):
        if data is None:
            raise UserError(
                "opens2v: needs the data set BestWishYsh/OpenS2V-Eval; download it with `hf download --repo-type "
                "dataset BestWishYsh/OpenS2V-Eval --local-dir FOLDER`, and give the folder with --data"
            )
        self.file = data / FILE if data.is_dir() else data

    def cases(self, folder: Path) -> Sequence[Case]:
        """All entries of the file in all controls, in its order; each entry is a group.

        Raises:
            UserError: the file or an image is missing or invalid; names it.
        """
        try:
            cases = [self._case(seed, name, entry) for seed, (name, entry) in enumerate(_entries(read_json(self.file)))]
        except UserError as error:
            raise UserError(f"{self.file}: {str(error).removeprefix(f'{self.file}: ')}") from error
        if not cases:
            raise UserError(f"{self.file}: has no entries; download it again")
        return [named for case in cases for named in _named(case, _other(case, cases))]

    def _case(self, seed: int, name: str, entry: _Entry) -> Case:
        images = tuple(self._image(name, path) for path in entry.img_paths)
        details = {"labels": entry.class_label, "category": _category(name)}
        return Case(name, entry.prompt, images, images, group=name, seed=seed, details=details)

    def _image(self, name: str, path: str) -> Path:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or "\0" in path:
            raise UserError(f"{name}: img_paths: {path!r:.200} leads out of the data set; use a path within it")
        image = self.file.parent / parts
        if not image.is_file():
            raise UserError(
                f"{name}: img_paths: there is no {path!r:.200} beside the file; download the data set again"
            )
        return image

    def remarks(self, result: Result) -> Iterator[str]:
        """The total of control `right`; without some sub-scores, what is absent and what the others contribute."""
        weights = self._weights
        values = {name: PARTS[name].normalized(scores) for name, scores in _scores(result).items() if name in weights}
        terms = " + ".join(f"{weights[name]:.2f} x {value:.3f} ({name})" for name, value in values.items())
        total = sum(weights[name] * value for name, value in values.items())
        if len(values) == len(weights):
            yield f"OpenS2V v1.1 total: {terms} = {total:.3f}."
            return
        missing = ", ".join(f"{name} ({weight:.2f})" for name, weight in weights.items() if name not in values)
        yield f"OpenS2V v1.1 has no total here, because sub-scores are absent (with their weights): {missing}."
        if values:
            most = sum(weights[name] for name in values)
            yield (
                f"The sub-scores that are there contribute {terms} = {total:.3f} of at most {most:.2f}, which is not "
                "the benchmark's total and not comparable with it."
            )

    @property
    def _weights(self) -> dict[str, float]:
        """The weight of each sub-score of the file's domain."""
        human = self.file.name.startswith(HUMAN)
        weights = {name: part.human_weight if human else part.weight for name, part in PARTS.items()}
        return {name: weight for name, weight in weights.items() if weight}


def _scores(result: Result) -> dict[str, list[float]]:
    """The values of the sub-scores that are there, with the right reference."""
    videos = [video for video in result.videos if video.control == "right"]
    there = [name for name in PARTS if name in result.metrics and result.metrics[name].absent is None]
    return {name: [video.scores[name] for video in videos] for name in there if videos}


def _entries(content: Mapping[str, Any]) -> Iterator[tuple[str, _Entry]]:
    for name, values in content.items():
        try:
            yield name, _Entry.model_validate(values)
        except ValidationError as error:
            raise UserError(f"{name!r:.100}: {explain(error)[:300]}; download the data set again") from error


def _category(name: str) -> str:
    """`singleobj` of `singleobj_1`."""
    return name.rpartition("_")[0] or name


def _other(case: Case, cases: Sequence[Case]) -> tuple[Path, ...]:
    """The images of the next case of the same category with other images; none if there is no such case."""
    place = cases.index(case)
    following = (*cases[place + 1 :], *cases[:place])
    others = (other for other in following if other.details["category"] == case.details["category"])
    return next((other.subject for other in others if not {*other.subject} & {*case.subject}), ())


def _named(case: Case, other: tuple[Path, ...]) -> Iterator[Case]:
    """A case in all controls; that of control `right` keeps the benchmark's name."""
    for named in in_all_controls(case, other):
        yield replace(named, name=case.name) if named.control == "right" else named
