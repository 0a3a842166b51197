"""How good films are: metrics, the judge of critters, and reports. Knows nothing of how the films were made."""

from refilm.evaluation.judge import ATTRIBUTES, Judge, Verdict
from refilm.evaluation.metrics import Accuracy, accuracy, psnr, wilson
from refilm.evaluation.novelty import Novelty, novelty
from refilm.evaluation.report import Row, as_json, machine, markdown

__all__ = [
    "ATTRIBUTES",
    "Accuracy",
    "Judge",
    "Novelty",
    "Row",
    "Verdict",
    "accuracy",
    "as_json",
    "machine",
    "markdown",
    "novelty",
    "psnr",
    "wilson",
]
