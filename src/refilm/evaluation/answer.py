"""What a source of videos is: a model, a folder, a server."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from refilm.evaluation.case import Case, Control
from refilm.evaluation.result import Source
from refilm.jobs import Progress


@dataclass(frozen=True)
class Answer:
    """The video of a case, or why there is none."""

    case: Case
    file: Path | None = None
    """The video's file, which may turn out to be broken; None with an error."""
    error: str | None = None
    """Why there is no video; it counts with the worst value of each column."""


class Answers(Protocol):
    """A source of videos."""

    controls: ClassVar[Sequence[Control]]
    """Controls that it can be asked for. Cases of the others are left out of the evaluation."""

    @property
    def masks(self) -> bool:
        """Whether there are masks of the subject beside videos; otherwise metrics of segments are absent."""
        ...

    def record(self) -> Source:
        """What the result says about the source."""
        ...

    def answers(self, cases: Sequence[Case], out: Path) -> Iterator[Answer | Progress]:
        """An answer for each case, in any order; between them, steps of a model that makes videos.

        An error of one case is its answer and does not end the others.

        Args:
            cases: what is asked for.
            out: folder for videos that the source makes or receives; created if it is missing.

        Raises:
            UserError: nothing can be answered, for instance because the folder does not exist.
        """
        ...
