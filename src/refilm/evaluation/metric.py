"""What a metric is: a row in the table of metrics, and a class with this protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from refilm.evaluation.case import Sample


@dataclass(frozen=True)
class Column:
    """A number that a metric gives for each video."""

    name: str
    """As in tables and result files: `likeness`, `clip_t`."""
    description: str
    """One sentence with the unit and what the extremes mean."""
    worst: float
    """The value of a video that failed, or in which a detector found nothing; it counts in every mean."""
    higher: bool | None = True
    """Whether a higher value is better; None for a measurement that is neither good nor bad."""
    hit: bool = False
    """Whether each video's value is 0 or 1, so that the mean is a fraction."""


class Metric(Protocol):
    """Scores videos one by one. It is created when an evaluation needs it, and loads its encoder then.

    `__init__` takes the device. It raises a UserError if an encoder or a package is missing, with the fix.
    """

    columns: ClassVar[Sequence[Column]]
    """Known without an instance, so that tables have the columns of a metric that cannot run here."""
    identity: Mapping[str, str]
    """Everything that the values depend on, in plain words: package versions, encoder and its revision or hash, which
    frames, crop and size. Results with different identities are not compared."""

    def score(self, sample: Sample) -> Mapping[str, float | Sequence[float]]:
        """The value of each column; a sequence has one value per scored frame and counts as its mean.

        Raises:
            UserError: the video cannot be scored, for instance too few frames; it counts as failed in these columns.
        """
        ...
