"""What a recipe trains, as a run sees it: a loss and, where there is more to report, what to report.

Knows nothing of what is trained.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from refilm.training.engine.optimizers import OptimizerSettings
from refilm.training.engine.parameters import ParameterTable
from refilm.training.engine.step import Trainable


class Reporting(Protocol):
    """What a run records of a task."""

    def trained(self, optimizer: OptimizerSettings) -> ParameterTable | None:
        """Which parameters train and which are frozen, with their memory; None: nothing to report."""
        return None

    def sources(self) -> dict[str, Any]:
        """What the run rests on - clips, base model, seed - with what distinguishes them from others."""
        return {}

    def usage(self, scores: Mapping[str, float]) -> str:
        """What a validation's scores mean, in words; empty: nothing."""
        return ""

    def useless(self, validations: Sequence[Mapping[str, float]]) -> bool:
        """Whether the scores of all validations so far say that going on makes no sense."""
        return False

    def facts(self, step: int) -> dict[str, Any]:
        """What a model card reports of the task after so many steps."""
        return {}


class Task(Trainable, Reporting, Protocol):
    """What a run trains and records. A task derives from `Reporting` and overrides what it has to report."""
