"""A run under watch: what its validations find is put into words, filmed, recorded, and may end it.

The first process watches for all. Where the weights are shared by all processes, all compute and the first one writes.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import tomli_w

from refilm.files import write_text
from refilm.training.distributed.parallel import place
from refilm.training.engine.loop import Findings, LoopSettings, Progress
from refilm.training.engine.signals import Stopped
from refilm.training.monitor.expendable import Expendable
from refilm.training.monitor.run_record import FILE, RunRecord
from refilm.training.monitor.sample_videos import FOLDER, SampleVideos, remove_later
from refilm.training.monitor.trackers import TrackerName, Trackers, open_tracker
from refilm.training.tasks.task import Task


class Watch(AbstractContextManager):
    """AttentionMaps at a run's weights and keeps its records.

    Args:
        task: what is trained.
        loop: the run's course.
        account: of the run; none: this process only computes.
        records: where everything is recorded; none likewise.
        sample_videos: makes videos; none: there are no videos.
    """

    def __init__(
        self,
        task: Task,
        loop: LoopSettings,
        *,
        account: RunRecord | None,
        records: Trackers | None,
        sample_videos: SampleVideos | None,
    ):
        self.task, self.loop, self.account, self.sample_videos = task, loop, account, sample_videos
        self.records, self.step, self.open = records, 0, ExitStack()
        self.expendable, self.ended = Expendable(), False

    def __enter__(self) -> "Watch":
        if self.records is not None:
            self.open.enter_context(self.records)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        with self.expendable("some of its logs"):
            self.open.close()
        if error is not None and not self.ended:
            self._end("closed" if kind is GeneratorExit else str(error) or type(error).__name__)

    def look(self, step: int) -> Findings:
        """A validation, and what it means."""
        scores = self.task.validate()
        words, videos = [self.task.usage(scores)], ()
        last = step == self.loop.steps
        if self.sample_videos is not None and (last or self.sample_videos.due(step // self.loop.validate_every)):
            try:
                videos = self.sample_videos.make(step, write=place().first, expendable=self.expendable)
            except FloatingPointError as error:  # the run's own numbers are sound: a video is not worth ending it
                words.append(f"videos: {error}")
        return Findings(scores, videos, "; ".join(filter(None, words)), enough=self._enough(scores))

    def _enough(self, scores: dict[str, float]) -> bool:
        return self.account is not None and self.task.useless([*self.account.scores, scores])

    def note(self, event: Progress | Stopped) -> None:
        """Record a step, or that the run stops."""
        if isinstance(event, Stopped):
            self._end(str(event))
        else:
            self._step(event)

    def _step(self, progress: Progress) -> None:
        self.step = progress.step
        if self.records is not None:
            with self.expendable("some of its logs"):
                self.records.write(progress)
        if self.account is not None and progress.scores:
            with self.expendable(FILE):
                self.account.validated(progress)

    def facts(self) -> dict[str, Any]:
        """What a card tells of the run."""
        assert self.account is not None
        return self.account.facts() | self.task.facts(self.step)

    def finished(self, result: Path) -> None:
        """Record that all steps are done, and where the result is."""
        self._end("finished", result)

    def _end(self, how: str, result: Path | None = None) -> None:
        self.ended = True
        if self.account is not None:
            with self.expendable(FILE):
                self.account.ended(self.step, how, result=result)


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
) -> Watch:
    """A watch over a run that begins, or goes on after `step`. Only now, the run being possible, its records change.

    Args:
        recipe: its plain values.
        changes: what a run that goes on has otherwise than before, by name: [before, now].

    Raises:
        ValueError: the tracker is not installed.
    """
    if not place().first:
        return Watch(task, loop, account=None, records=None, sample_videos=sample_videos)
    account = RunRecord(
        folder,
        recipe,
        sources=task.sources(),
        processes=place().size,
        step=step,
        changes=changes,
    )
    tracker = None if log_with is None else open_tracker(log_with, run=account.name, config=recipe)
    write_text(folder / "recipe.toml", tomli_w.dumps(recipe))
    account.start()
    remove_later(folder / FOLDER, step)
    records = Trackers(folder, step=step, tracker=tracker)
    return Watch(task, loop, account=account, records=records, sample_videos=sample_videos)
