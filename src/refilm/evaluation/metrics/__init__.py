"""Metrics: a metric is one file and one row in this table. A metric's module is imported when it is used."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from refilm.errors import UserError
from refilm.evaluation.metric import Column, Metric

_HERE = "refilm.evaluation.metrics"
METRICS = {
    "critters": f"{_HERE}.critters.Critters",
}
"""The class of each metric."""


def columns(name: str) -> Sequence[Column]:
    """The columns of a metric, also of one that cannot run here.

    Raises:
        UserError: no metric has this name.
    """
    return _class(name).columns


def create(name: str, *, device: str = "cpu", **options: Any) -> Metric:
    """Create a metric; its encoder is loaded.

    Args:
        name: as in `METRICS`.
        device: device of its encoder.
        options: further arguments of its class.

    Raises:
        UserError: no metric has this name, or it cannot run here; says why and how to fix it.
    """
    return _class(name)(device, **options)


def _class(name: str) -> Any:
    if name not in METRICS:
        raise UserError(f"metric: {name!r:.100} is unknown; use {', '.join(METRICS)}")
    module, _, kind = METRICS[name].rpartition(".")
    return getattr(import_module(module), kind)


__all__ = ["METRICS", "columns", "create"]
