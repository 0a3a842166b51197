"""Plots of a result as SVG, by matplotlib, which is in the extra `eval`."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from refilm.errors import UserError
from refilm.evaluation.case import Control
from refilm.evaluation.intervals import interval
from refilm.evaluation.result import ColumnRecord, Result, ScoredVideo
from refilm.evaluation.table import HEADS, controls_of, label, mean_of, present_columns, videos_of

POINTS = 20
"""Moments of a video, from its first to its last scored frame, at which curves are averaged."""
ACROSS = 5
"""Columns of the suite in a row of the plot of means."""
COLORS: dict[Control, str] = {"right": "#0072b2", "wrong": "#d55e00", "none": "#7f7f7f", "scale0": "#009e73"}
"""Of Okabe and Ito, which color-blind readers can tell apart."""


def plots_of(result: Result) -> dict[str, bytes]:
    """The plots by name, as SVG: the means of all columns, and the course of those that have a value for each frame.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UserError("plots need matplotlib; install it with `pip install refilm[eval]`") from error
    with mpl.rc_context({"svg.hashsalt": "refilm", "font.size": 9}):
        plots = {"means": _means(result)}
        for column in present_columns(result):
            if any(column.name in video.curves for video in result.videos):
                plots[f"{column.name}-over-time"] = _course(result, column)
    return plots


def course(videos: Sequence[ScoredVideo], column: str) -> np.ndarray:
    """The curve of each video that has one, at 20 moments from its start to its end: (N, 20)."""
    moments = np.linspace(0, 1, POINTS)
    curves = [video.curves[column] for video in videos if column in video.curves]
    return np.array([np.interp(moments, np.linspace(0, 1, len(curve)), curve) for curve in curves])


def _means(result: Result) -> bytes:
    columns, controls = present_columns(result), controls_of(result)
    rows = -(-len(columns) // ACROSS)
    figure = _figure(2.1 * min(len(columns), ACROSS), 2.4 * rows)
    for place, column in enumerate(columns):
        axes = figure.add_subplot(rows, min(len(columns), ACROSS), place + 1)
        for position, control in enumerate(controls):
            found = mean_of(videos_of(result, control), column)
            axes.plot(position, found.mean, "o", color=COLORS[control])
            if found.low is not None and found.high is not None:
                axes.plot([position] * 2, [found.low, found.high], color=COLORS[control])
        axes.set_title(label(column).removesuffix(" %"))
        axes.set_xticks(range(len(controls)), controls, rotation=45)
        axes.set_xlim(-0.5, len(controls) - 0.5)
    return _svg(figure)


def _course(result: Result, column: ColumnRecord) -> bytes:
    figure = _figure(6, 3)
    axes = figure.add_subplot()
    for control in controls_of(result):
        videos = [video for video in videos_of(result, control) if column.name in video.curves]
        if videos:
            groups = [video.group for video in videos]
            found = [interval(list(values), groups) for values in course(videos, column.name).T]
            moments = np.linspace(0, 1, POINTS)
            axes.plot(moments, [one.mean for one in found], color=COLORS[control], label=HEADS[control])
            low = [one.mean if one.low is None else one.low for one in found]
            high = [one.mean if one.high is None else one.high for one in found]
            axes.fill_between(moments, low, high, color=COLORS[control], alpha=0.15, linewidth=0)
    axes.set_xlabel("time in the video, from start to end")
    axes.set_ylabel(column.name)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return _svg(figure)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # without pyplot, which would choose a window system

    return Figure((width, height), layout="constrained")


def _svg(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
