"""What a run leaves to be looked at: TensorBoard's events always, and another tracker's where one is asked for.

Written by the first process alone. A resumed run continues the same record, and no step is there twice. Knows nothing
of what is trained.
"""

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from torch.utils.tensorboard import SummaryWriter

from refilm.files import write_text
from refilm.media import open_video
from refilm.training.loop import Progress
from refilm.training.memory import most_memory

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


class Records(AbstractContextManager):
    """Writes a run's record into its folder.

    Args:
        folder: the run's; events go to logs/ in it, to be seen with `tensorboard --logdir`.
        step: the step at which the run goes on; 0 for a new one. What was recorded of later steps is taken back.
        tracker: another that gets the same numbers.
    """

    def __init__(self, folder: Path, *, step: int = 0, tracker: Tracker | None = None):
        self.writer = SummaryWriter(folder / LOGS, purge_step=step + 1 if step else None)
        self.tracker, self.mark = tracker, folder / LOGS / "tracked"
        self.tracked = int(self.mark.read_text()) if step and self.mark.exists() else 0

    def __exit__(self, *error: object) -> None:
        self.writer.close()
        if self.tracker is not None:
            self.tracker.finish()

    def write(self, progress: Progress) -> None:
        """Record a step."""
        numbers = numbers_of(progress)
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, progress.step)
        if progress.words:
            self.writer.add_text("validation/words", progress.words, progress.step)
        self._films(progress.films, progress.step)
        if progress.scores:
            self.writer.flush()
        if self.tracker is not None and progress.step > self.tracked:
            self.tracker.log(numbers, step=progress.step)
            self.tracked = progress.step
            write_text(self.mark, str(self.tracked))

    def _films(self, films: Iterable[Path], step: int) -> None:
        """As moving pictures, which TensorBoard plays among its images."""
        for number, path in enumerate(films, start=1):
            video = open_video(path)
            with tempfile.TemporaryDirectory() as folder:
                (gif,) = video.save(Path(folder) / "film.gif", scale=1)
                encoded = gif.read_bytes()
            height, width = video.frames.shape[1:3]
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
            value = Summary.Value(tag=f"films/{number}", image=image)
            assert self.writer.file_writer is not None
            self.writer.file_writer.add_summary(Summary(value=[value]), step)


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
        ValueError: it is not installed.
    """
    try:
        if name == "trackio":
            import trackio

            return trackio.init(project="refilm", name=run, config=dict(config), resume="allow", embed=False)
        import wandb  # pyright: ignore[reportMissingImports]

        return wandb.init(project="refilm", id=run, name=run, config=dict(config), resume="allow")
    except ImportError as error:
        raise ValueError(f"--log-with {name}: is not installed; add it with: pip install refilm[{name}]") from error
