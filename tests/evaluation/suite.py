"""A small suite whose videos are gray, and a metric that measures how bright they are."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.case import Case, Sample
from refilm.evaluation.metric import Column
from refilm.evaluation.result import Result
from refilm.evaluation.suites.controls import in_all_controls
from refilm.media import Video


class Brightness:
    """The brightness of each frame, 0 to 1, and whether the video is brighter than a half."""

    columns: ClassVar = (
        Column("brightness", "Mean brightness; 1 is white.", worst=0),
        Column("bright", "Whether it is bright.", worst=0, hit=True),
    )
    scored: ClassVar[list[str]] = []

    def __init__(self, device: str = "cpu"):
        self.identity = {"frames": "all"}

    def score(self, sample: Sample) -> Mapping[str, float | Sequence[float]]:
        if len(sample.frames) < 3:
            raise UserError(f"{len(sample.frames)} frames are fewer than 3")
        self.scored.append(sample.case.name)
        curve = (sample.frames.mean((1, 2, 3)) / 255).tolist()
        return {"brightness": curve, "bright": float(np.mean(curve) > 0.5)}


class Absent:
    """A metric whose encoder is missing."""

    columns: ClassVar = (Column("depth", "Depth.", worst=0),)

    def __init__(self, device: str = "cpu"):
        raise UserError("its encoder is not installed; install it")


class Grays:
    """Some prompts, each with a subject, in all controls."""

    name = "grays"
    version = "1"
    metrics: ClassVar[Sequence[str]] = ("brightness", "depth")
    settings: ClassVar[Mapping[str, Any]] = {"steps": 1, "frames": 9}

    def __init__(self, prompts: int = 3):
        self.prompts = prompts

    def cases(self, folder: Path) -> Sequence[Case]:
        folder.mkdir(parents=True, exist_ok=True)
        cases: list[Case] = []
        for number in range(self.prompts):
            Image.new("RGB", (32, 32), (20 * (number % 10),) * 3).save(folder / f"{number}.png")
        for number in range(self.prompts):
            one, other = (folder / f"{(number + step) % self.prompts}.png" for step in (0, 1))
            cases += in_all_controls(Case(f"{number:02}", f"prompt {number}", (one,), seed=number), (other,))
        return cases

    def remarks(self, result: Result) -> Iterable[str]:
        return (f"{len(result.videos)} videos are gray",)


def write_gray(path: Path, gray: int, frames: int = 4) -> None:
    """A gray video."""
    Video(np.full((frames, 32, 32, 3), gray, np.uint8), 8).save(path, scale=1)
