"""The interface of tasks: what a run needs in addition to the loss of `Trainable`.

Independent of what is trained.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from refilm.training.engine.parameters import ParameterTable
from refilm.training.engine.step import Trainable
from refilm.training.settings import OptimizerSettings


class Reporting(Protocol):
    """What a run records of a task."""

    def trained(self, optimizer: OptimizerSettings) -> ParameterTable | None:
        """Trained and frozen parameters, with their memory; None: there is no table."""
        return None

    def sources(self) -> dict[str, Any]:
        """Clips, base model and seed, with their identities, for the run record."""
        return {}

    def usage(self, scores: Mapping[str, float]) -> str:
        """What a validation's scores mean, in words; can be empty."""
        return ""

    def reference_unused(self, validations: Sequence[Mapping[str, float]]) -> bool:
        """Whether to end the run early, by the scores of all validations so far."""
        return False

    def facts(self, step: int) -> dict[str, Any]:
        """Facts about the task after `step` steps, for a model card."""
        return {}


class Task(Trainable, Reporting, Protocol):
    """What a run trains and records. Derive your own tasks from `Reporting`, and override what they report."""
