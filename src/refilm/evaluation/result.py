"""The result of an evaluation: a JSON file with the scores of every video, from which tables and pages are made.

Means and intervals are not stored: they are computed from the videos, so that they cannot disagree with them.
"""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from refilm.evaluation.case import Control
from refilm.settings import Seed, Settings

FORMAT = 1
Text = Annotated[str, Field(max_length=65536)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Values = dict[Text, Text | Whole | Number | bool | None]


class SuiteRecord(Settings):
    """Which suite was asked for."""

    name: Text
    version: Text
    cases: Text
    """Hash of the cases of control `right`: names, prompts, groups, details, and the content of all images. Seeds are
    left out, because they mean something else to each model."""


class Source(Settings):
    """Where the videos come from."""

    kind: Literal["model", "folder", "server"]
    details: Values = Field(default_factory=dict)
    """A model's folders, fingerprints and settings; a folder's path; a server's address and model."""


class ColumnRecord(Settings):
    """A column, as its metric describes it (`refilm.evaluation.metric.Column`)."""

    name: Text
    description: Text
    worst: Number
    higher: bool | None = True
    hit: bool = False


class MetricRecord(Settings):
    """A metric that was asked for."""

    columns: tuple[ColumnRecord, ...]
    identity: dict[Text, Text] = Field(default_factory=dict)
    absent: Text | None = None
    """Why it could not run here; its columns have no values then."""


class ScoredVideo(Settings):
    """A case, and what became of it."""

    case: Text
    control: Control
    group: Text
    prompt: Text
    seed: Seed
    subject: tuple[Text, ...]
    """Paths of the subject's images, relative to the result file."""
    file: Text | None = None
    """Path of the video, relative to the result file."""
    sha256: Text | None = None
    """Hash of the video's file."""
    error: Text | None = None
    """Why there is no video, or why it cannot be read; every column then counts with its worst value."""
    errors: dict[Text, Text] = Field(default_factory=dict)
    """Metrics that could not score this video, each with the reason; their columns count with their worst value."""
    scores: dict[Text, Number] = Field(default_factory=dict)
    curves: dict[Text, tuple[Number, ...]] = Field(default_factory=dict)
    """Values of single frames, for columns that have them: likeness over time."""
    notes: Values = Field(default_factory=dict)
    """Width, height, frames and fps of the video."""


class Result(Settings):
    """An evaluation."""

    format: Annotated[int, Field(ge=1, le=1000)] = FORMAT
    suite: SuiteRecord
    source: Source
    metrics: dict[Text, MetricRecord]
    warnings: tuple[Text, ...] = ()
    """For instance that a metric's encoder is the one that the adapter reads."""
    videos: tuple[ScoredVideo, ...]
    machine: Values
    refilm: Text
    """Version of refilm."""
    date: Text

    @model_validator(mode="after")
    def _every_video_has_every_column(self) -> Self:
        columns = [column.name for record in self.metrics.values() for column in record.columns if not record.absent]
        for what, names in (("columns", columns), ("videos", [video.case for video in self.videos])):
            name, count = next(iter(Counter(names).most_common(1)), ("", 0))
            if count > 1:
                raise ValueError(f"two {what} are called {name:.100}")
        for video in self.videos:
            if missing := next((name for name in columns if name not in video.scores), None):
                raise ValueError(f"video {video.case:.100} has no score {missing:.100}")
        return self
