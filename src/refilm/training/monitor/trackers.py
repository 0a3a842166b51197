"""Trackers: metrics are always logged to TensorBoard, and optionally to trackio or wandb.

Written by the first process only. A resumed run continues the same log, without duplicate steps. Independent of what
is trained.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, Protocol

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar, text

from refilm.errors import UserError
from refilm.files import write_text
from refilm.media import open_video
from refilm.training.engine.loop import Progress
from refilm.training.monitor.memory import most_memory

LOGS = "logs"
TrackerName = Literal["trackio", "wandb"]


class Tracker(Protocol):
    """The common interface of trackio and wandb."""

    def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log the metrics of a step."""
        ...

    def finish(self) -> None:
        """End the log."""
        ...


class Trackers(AbstractContextManager):
    """Logs a run's metrics.

    Args:
        folder: the run's folder; TensorBoard events are written to logs/ in it.
        step: the step after which the run is resumed; 0: a new run. Logs of later steps are discarded, also those of
            an earlier run in this folder that never saved a step.
        tracker: an additional tracker that gets the same metrics.
    """

    def __init__(self, folder: Path, *, step: int = 0, tracker: Tracker | None = None):
        self.tracker, self.mark = tracker, folder / LOGS / "tracked"
        self.tracked = int(self.mark.read_text()) if step and self.mark.exists() else 0
        self.events = _new_events(folder / LOGS)
        session = SessionLog(status=SessionLog.START)  # TensorBoard discards older events from this step on
        _append(self.events, [Event(file_version="brain.Event:2"), Event(step=step + 1, session_log=session)])

    def __exit__(self, *error: object) -> None:
        if self.tracker is not None:
            self.tracker.finish()

    def write(self, progress: Progress) -> None:
        """Log a step.

        Raises:
            OSError: it cannot be written; then nothing of the step is written, and later steps can be logged.
        """
        numbers = numbers_of(progress)
        summaries = [scalar(name, value) for name, value in numbers.items()]
        if progress.words:
            summaries.append(text("validation/words", progress.words))
        summaries += [_moving(path, number) for number, path in enumerate(progress.videos, start=1)]
        _append(self.events, [Event(step=progress.step, summary=each) for each in summaries])
        if self.tracker is not None and progress.step > self.tracked:
            self.tracker.log(numbers, step=progress.step)
            self.tracked = progress.step
            write_text(self.mark, str(self.tracked))


def _new_events(logs: Path) -> Path:
    """A path for events that sorts after all existing event files: their names start with a time in seconds."""
    logs.mkdir(parents=True, exist_ok=True)
    dated = (re.match(r"events\.out\.tfevents\.(\d+)", path.name) for path in logs.iterdir())
    after = [int(name[1]) + 1 for name in dated if name]
    return logs / f"events.out.tfevents.{max([int(time.time()), *after]):010d}.refilm"


def _append(file: Path, events: Iterable[Event]) -> None:
    """Append events to a file: all of them, or none if the disk is full."""
    records = BytesIO()
    for event in events:
        event.wall_time = time.time()
        RecordWriter(records).write(event.SerializeToString())
    size = file.stat().st_size if file.exists() else 0
    try:
        with file.open("ab") as stream:
            stream.write(records.getvalue())
    except OSError as error:
        with suppress(OSError):
            os.truncate(file, size)  # a partial event would hide later ones
        error.filename = error.filename or str(file)
        raise


def _moving(video: Path, number: int) -> Summary:
    """A video as an animated GIF, which TensorBoard shows among its images."""
    made = open_video(video)
    with tempfile.TemporaryDirectory() as folder:
        (gif,) = made.save(Path(folder) / "video.gif", scale=1)
        encoded = gif.read_bytes()
    height, width = made.frames.shape[1:3]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
    return Summary(value=[Summary.Value(tag=f"videos/{number}", image=image)])


def numbers_of(progress: Progress) -> dict[str, float]:
    """All metrics of a step, by their names in the log."""
    train = {"loss": progress.loss, **progress.details, "seconds": progress.seconds, "memory_gib": most_memory()}
    if progress.samples and progress.seconds:
        train["clips_per_second"] = progress.samples / progress.seconds
    validation = {f"validation/{name}": value for name, value in progress.scores.items()}
    return {f"train/{name}": value for name, value in train.items()} | validation


def open_tracker(name: TrackerName, *, run: str, config: Mapping[str, Any]) -> Tracker:
    """Start a tracker; an existing run of that name is continued.

    Raises:
        UserError: it is not installed, or cannot start.
    """
    try:
        if name == "trackio":
            import trackio

            return trackio.init(project="refilm", name=run, config=dict(config), resume="allow", embed=False)
        import wandb  # pyright: ignore[reportMissingImports]

        return wandb.init(project="refilm", id=run, name=run, config=dict(config), resume="allow")
    except ImportError as error:
        raise UserError(f"--log-with {name}: is not installed; run: pip install refilm[{name}]") from error
    except Exception as error:  # each tracker has its own exceptions
        raise UserError(f"--log-with {name}: cannot start: {error}; fix that, or remove the option") from error
