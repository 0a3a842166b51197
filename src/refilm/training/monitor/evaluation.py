"""What a run needs of an evaluation: scores of a suite at validations. `refilm.evaluation` has it, above training."""

from typing import Any, Protocol


class Evaluation(Protocol):
    """Scores a suite's videos of the current weights."""

    def due(self, validation: int) -> bool:
        """Whether the n-th validation has an evaluation, counted from 1."""
        ...

    def score(self, step: int, *, write: bool) -> dict[str, float]:
        """Make and score the videos; neither the model nor the state of random number generators changes.

        Args:
            step: the training step.
            write: whether this process writes and scores the videos, or only takes part in the computation.

        Returns:
            Means by name; none without `write`.
        """
        ...

    def remove_later(self, step: int) -> None:
        """Remove the results of later steps, before a run continues after `step`."""
        ...

    def facts(self) -> dict[str, Any]:
        """The last result, for a model card; empty if there is none."""
        ...
