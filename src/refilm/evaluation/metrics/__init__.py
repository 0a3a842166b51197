"""Metrics: a metric is one file and one row here."""

from importlib import import_module
from typing import cast

from refilm.errors import UserError
from refilm.evaluation.metric import Metric

METRICS = {
    "critters": "refilm.evaluation.metrics.critters:Critters",
}
"""Each metric's name, and its class as `module:class`; it is called with the device."""


def metric_class(name: str) -> type[Metric]:
    """The class of a metric; its encoder is loaded when an instance is created.

    Raises:
        UserError: there is no such metric; names those that there are.
    """
    if name not in METRICS:
        raise UserError(f"metric {name!r:.60}: unknown; use {', '.join(METRICS)}")
    module, kind = METRICS[name].split(":")
    return cast(type[Metric], getattr(import_module(module), kind))
