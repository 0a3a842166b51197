"""Metrics: a metric is one file and one row in this table.

`METRICS` names the class of each metric. `ABSENT` names the metrics that suites ask for but refilm does not
run, each with the reason. A metric's module is imported when it is used.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from refilm.errors import UserError
from refilm.evaluation.metric import Column, Metric
from refilm.evaluation.metrics.absent import ABSENT

_HERE = "refilm.evaluation.metrics"
METRICS = {
    "critters": f"{_HERE}.critters.Critters",
    "efficientnet_i": f"{_HERE}.likeness.EfficientNetLikeness",
    "efficientnet_i_segment": f"{_HERE}.likeness.EfficientNetSegmentLikeness",
    "clip_i": f"{_HERE}.likeness.ClipI",
    "clip_i_segment": f"{_HERE}.likeness.ClipISegment",
    "dino_i": f"{_HERE}.likeness.DinoI",
    "dino_i_segment": f"{_HERE}.likeness.DinoISegment",
    "dinov2_i": f"{_HERE}.likeness.Dinov2I",
    "dinov2_i_segment": f"{_HERE}.likeness.Dinov2ISegment",
    "clip_t": f"{_HERE}.clip_t.ClipT",
    "copy_paste": f"{_HERE}.copy_paste.CopyPaste",
    "motion": f"{_HERE}.motion.Motion",
    "amplitude": f"{_HERE}.amplitude.Amplitude",
    "aesthetic": f"{_HERE}.aesthetic.Aesthetic",
}
"""The class of each metric."""
OF_SUITES = ("critters",)
"""Metrics that need details of cases, so that only suites which name them can be scored by them."""


def columns(name: str) -> Sequence[Column]:
    """The columns of a metric, also of one that cannot run here.

    Raises:
        UserError: no metric has this name.
    """
    return ABSENT[name].columns if name in ABSENT else _class(name).columns


def create(name: str, *, device: str = "cpu", **options: Any) -> Metric:
    """Create a metric; its encoder is loaded.

    Args:
        name: as in `METRICS`.
        device: device of its encoder.
        options: further arguments of its class: `frames`, the number of frames that are scored, or `encoder`, a
            folder or `owner/name` in the Hub's cache.

    Raises:
        UserError: no metric has this name, or it cannot run here; says why and how to fix it.
    """
    if name in ABSENT:
        raise UserError(f"{name}: {ABSENT[name].reason}")
    return _class(name)(device, **options)


def _class(name: str) -> Any:
    if name not in METRICS:
        raise UserError(f"metric: {name!r:.100} is unknown; use {', '.join((*METRICS, *ABSENT))}")
    module, _, kind = METRICS[name].rpartition(".")
    return getattr(import_module(module), kind)


__all__ = ["ABSENT", "METRICS", "OF_SUITES", "columns", "create"]
