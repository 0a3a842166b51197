"""What a run leaves to be looked at: TensorBoard's events always, and another tracker's where one is asked for.

Written by the first process alone. A resumed run continues the same record, and no step is there twice. Knows nothing
of what is trained.
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

from refilm.files import write_text
from refilm.media import open_video
from refilm.training.engine.loop import Progress
from refilm.training.monitor.memory import most_memory

LOGS = "logs"
TrackerName = Literal["trackio", "wandb"]


class Tracker(Protocol):
    """What trackio and wandb have in common."""

    def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Numbers of a step."""
        ...

    def finish(self) -> None:
        """Nothing more will come."""
        ...


class Trackers(AbstractContextManager):
    """Writes a run's record into its folder.

    Args:
        folder: the run's; events go to logs/ in it, to be seen with `tensorboard --logdir`.
        step: the step at which the run goes on; 0 for a new one. What was recorded of later steps is taken back, that
            of a run too which was here before and never saved a step.
        tracker: another that gets the same numbers.
    """

    def __init__(self, folder: Path, *, step: int = 0, tracker: Tracker | None = None):
        self.tracker, self.mark = tracker, folder / LOGS / "tracked"
        self.tracked = int(self.mark.read_text()) if step and self.mark.exists() else 0
        self.events = _new_events(folder / LOGS)
        session = SessionLog(status=SessionLog.START)  # events of this step and later ones in older files count no more
        _append(self.events, [Event(file_version="brain.Event:2"), Event(step=step + 1, session_log=session)])

    def __exit__(self, *error: object) -> None:
        if self.tracker is not None:
            self.tracker.finish()

    def write(self, progress: Progress) -> None:
        """Record a step.

        Raises:
            OSError: it cannot be written, and then nothing of it is; the next step can be.
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
    """A file of events that TensorBoard reads after all others there: their names begin with a time, in seconds."""
    logs.mkdir(parents=True, exist_ok=True)
    dated = (re.match(r"events\.out\.tfevents\.(\d+)", path.name) for path in logs.iterdir())
    after = [int(name[1]) + 1 for name in dated if name]
    return logs / f"events.out.tfevents.{max([int(time.time()), *after]):010d}.refilm"


def _append(file: Path, events: Iterable[Event]) -> None:
    """Add events to a file: all of them or, where the disk is full, none."""
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
            os.truncate(file, size)  # half an event would hide those after it
        error.filename = error.filename or str(file)
        raise


def _moving(video: Path, number: int) -> Summary:
    """A video as a moving image, which TensorBoard plays among its images."""
    made = open_video(video)
    with tempfile.TemporaryDirectory() as folder:
        (gif,) = made.save(Path(folder) / "video.gif", scale=1)
        encoded = gif.read_bytes()
    height, width = made.frames.shape[1:3]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
    return Summary(value=[Summary.Value(tag=f"videos/{number}", image=image)])


def numbers_of(progress: Progress) -> dict[str, float]:
    """All numbers of a step, by the names they are recorded under."""
    train = {"loss": progress.loss, **progress.details, "seconds": progress.seconds, "memory_gib": most_memory()}
    if progress.samples and progress.seconds:
        train["clips_per_second"] = progress.samples / progress.seconds
    validation = {f"validation/{name}": value for name, value in progress.scores.items()}
    return {f"train/{name}": value for name, value in train.items()} | validation


def open_tracker(name: TrackerName, *, run: str, config: Mapping[str, Any]) -> Tracker:
    """A tracker, ready to log; the run of that name is continued if it has it.

    Raises:
        ValueError: it is not installed, or cannot begin.
    """
    try:
        if name == "trackio":
            import trackio

            return trackio.init(project="refilm", name=run, config=dict(config), resume="allow", embed=False)
        import wandb  # pyright: ignore[reportMissingImports]

        return wandb.init(project="refilm", id=run, name=run, config=dict(config), resume="allow")
    except ImportError as error:
        raise ValueError(f"--log-with {name}: is not installed; add it with: pip install refilm[{name}]") from error
    except Exception as error:  # of any kind, and each tracker has its own
        raise ValueError(f"--log-with {name}: cannot begin: {error}; mend that, or leave it out") from error
