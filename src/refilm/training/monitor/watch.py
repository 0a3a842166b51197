"""Monitoring of a run: validations, sample videos, scores of a suite, run record and trackers.

Validations can end the run. Only the first process monitors. With sharded weights all processes compute, and the
first one writes.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import tomli_w

from refilm.errors import NotFiniteError
from refilm.files import write_text
from refilm.training.distributed.parallel import place
from refilm.training.engine.loop import Findings, Progress
from refilm.training.engine.signals import Stopped
from refilm.training.monitor.evaluation import Evaluation
from refilm.training.monitor.expendable import Expendable
from refilm.training.monitor.run_record import FILE, RunRecord
from refilm.training.monitor.sample_videos import FOLDER, SampleVideos, remove_later
from refilm.training.monitor.trackers import TrackerName, Trackers, open_tracker
from refilm.training.settings import LoopSettings
from refilm.training.tasks.task import Task


class Watch(AbstractContextManager):
    """Validates a run's weights, and writes its run record and logs.

    Args:
        task: what is trained.
        loop: settings of the training loop.
        record: the run record; None: this process only computes.
        trackers: for metrics; None: this process only computes.
        sample_videos: generates sample videos; None: no videos.
        evaluation: scores a suite; None: no suite is scored.
    """

    def __init__(
        self,
        task: Task,
        loop: LoopSettings,
        *,
        record: RunRecord | None,
        trackers: Trackers | None,
        sample_videos: SampleVideos | None,
        evaluation: Evaluation | None,
    ):
        self.task, self.loop, self.record = task, loop, record
        self.sample_videos, self.evaluation = sample_videos, evaluation
        self.trackers, self.step, self.open = trackers, 0, ExitStack()
        self.expendable, self.ended = Expendable(), False

    def __enter__(self) -> "Watch":
        if self.trackers is not None:
            self.open.enter_context(self.trackers)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        with self.expendable("some of its logs"):
            self.open.close()
        if error is not None and not self.ended:
            self._end("closed" if kind is GeneratorExit else str(error) or type(error).__name__)

    def validate(self, step: int) -> Findings:
        """Validate, interpret the scores, generate sample videos and score a suite."""
        scores = self.task.validate()
        words, videos = [self.task.usage(scores)], ()
        last, validation = step == self.loop.steps, step // self.loop.validate_every
        if self.sample_videos is not None and (last or self.sample_videos.due(validation)):
            try:
                videos = self.sample_videos.make(step, write=place().first, expendable=self.expendable)
            except NotFiniteError as error:  # the training itself is finite: a video must not end the run
                words.append(f"videos: {error}")
        enough, evaluated = self._enough(scores), {}
        if self.evaluation is not None and (last or self.evaluation.due(validation)):
            with self.expendable("the scores of its suite"):
                evaluated = self.evaluation.score(step, write=place().first)
        return Findings(scores | evaluated, videos, "; ".join(filter(None, words)), enough=enough)

    def _enough(self, scores: dict[str, float]) -> bool:
        return self.record is not None and self.task.reference_unused([*self.record.scores, scores])

    def note(self, event: Progress | Stopped) -> None:
        """Record a step, or the end of the run."""
        if isinstance(event, Stopped):
            self._end(str(event))
        else:
            self._step(event)

    def _step(self, progress: Progress) -> None:
        self.step = progress.step
        if self.trackers is not None:
            with self.expendable("some of its logs"):
                self.trackers.write(progress)
        if self.record is not None and progress.scores:
            with self.expendable(FILE):
                self.record.validated(progress)

    def facts(self) -> dict[str, Any]:
        """Facts about the run for a model card."""
        assert self.record is not None
        evaluated = {} if self.evaluation is None else self.evaluation.facts()
        return self.record.facts() | self.task.facts(self.step) | evaluated

    def finished(self, result: Path) -> None:
        """Record that the run is complete, and the path of the result."""
        self._end("finished", result)

    def _end(self, how: str, result: Path | None = None) -> None:
        self.ended = True
        if self.record is not None:
            with self.expendable(FILE):
                self.record.ended(self.step, how, result=result)


def watch(
    task: Task,
    loop: LoopSettings,
    folder: Path,
    *,
    recipe: Mapping[str, Any],
    step: int,
    changes: Mapping[str, Any],
    log_with: TrackerName | None,
    sample_videos: SampleVideos | None,
    evaluation: Evaluation | None,
) -> Watch:
    """Start monitoring a run that starts, or is resumed after `step`. Writes the run record and the recipe.

    Args:
        recipe: plain values of the recipe.
        changes: differences of a resumed run from before, by name: [before, now].

    Raises:
        UserError: the tracker is not installed.
    """
    if not place().first:
        return Watch(task, loop, record=None, trackers=None, sample_videos=sample_videos, evaluation=evaluation)
    record = RunRecord(
        folder,
        recipe,
        sources=task.sources(),
        processes=place().size,
        step=step,
        changes=changes,
    )
    tracker = None if log_with is None else open_tracker(log_with, run=record.name, config=recipe)
    write_text(folder / "recipe.toml", tomli_w.dumps(recipe))
    record.start()
    remove_later(folder / FOLDER, step)
    if evaluation is not None:
        evaluation.remove_later(step)
    trackers = Trackers(folder, step=step, tracker=tracker)
    return Watch(task, loop, record=record, trackers=trackers, sample_videos=sample_videos, evaluation=evaluation)
