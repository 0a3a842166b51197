"""Metrics and reports of how good videos are. Does not know how the videos were made."""

from refilm.evaluation.accuracy import Accuracy, accuracy, wilson
from refilm.evaluation.metrics.psnr import psnr
from refilm.evaluation.report import Row, as_json, markdown
from refilm.machine import machine

__all__ = ["Accuracy", "Row", "accuracy", "as_json", "machine", "markdown", "psnr", "wilson"]
