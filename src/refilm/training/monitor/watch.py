"""A run under watch: what its validations find is put into words, filmed, recorded, and may end it.

The first process watches for all. Where the weights are shared by all processes, all compute and the first one writes.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from refilm.files import write_text
from refilm.training.changes import Change
from refilm.training.distributed.parallel import place
from refilm.training.engine.loop import Findings, LoopSettings, Progress
from refilm.training.engine.step import Task
from refilm.training.monitor.expendable import Expendable
from refilm.training.monitor.run_record import FILE, Account
from refilm.training.monitor.sample_videos import FOLDER, Filming, remove_later
from refilm.training.monitor.trackers import Records, TrackerName, open_tracker
from refilm.training.tasks.diffusion import DiffusionTask
from refilm.training.tasks.reference_usage import unused_in_a_row


class Watch(AbstractContextManager):
    """Looks at a run's weights and keeps its records.

    Args:
        task: what is trained.
        loop: the run's course.
        account: of the run; none: this process only computes.
        records: where everything is recorded; none likewise.
        filming: makes films; none: there are no films.
    """

    def __init__(
        self,
        task: Task,
        loop: LoopSettings,
        *,
        account: Account | None,
        records: Records | None,
        filming: Filming | None,
    ):
        self.task, self.loop, self.account, self.filming = task, loop, account, filming
        self.records, self.step, self.open = records, 0, ExitStack()
        self.expendable = Expendable()

    def __enter__(self) -> "Watch":
        if self.records is not None:
            self.open.enter_context(self.records)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        with self.expendable("some of its logs"):
            self.open.close()
        if self.account is not None and error is not None:
            with self.expendable(FILE):
                self.account.ended(self.step, "closed" if kind is GeneratorExit else str(error) or type(error).__name__)

    def look(self, step: int) -> Findings:
        """A validation, and what it means."""
        scores = self.task.validate()
        found, films = self.task.verdict(scores) if isinstance(self.task, DiffusionTask) else None, ()
        words = [found.words] if found else []
        last = step == self.loop.steps
        if self.filming is not None and (last or self.filming.due(step // self.loop.validate_every)):
            try:
                films = self.filming.make(step, write=place().first, expendable=self.expendable)
            except FloatingPointError as error:  # the run's own numbers are sound: a film is not worth ending it
                words.append(f"films: {error}")
        return Findings(scores, films, "; ".join(words), enough=self._enough(scores))

    def _enough(self, scores: dict[str, float]) -> bool:
        patience = self.task.settings.validation.stop_if_unused if isinstance(self.task, DiffusionTask) else 0
        if not patience or self.account is None:
            return False
        return unused_in_a_row([*self.account.scores, scores]) >= patience

    def note(self, progress: Progress) -> None:
        """Take a step down."""
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
        counted = isinstance(self.task, DiffusionTask) and self.step > 0
        return self.account.facts() | ({"samples": self.task.samples(self.step - 1).stop} if counted else {})

    def finished(self, result: Path) -> None:
        """Take down that all steps are done, and where the result is."""
        assert self.account is not None
        with self.expendable(FILE):
            self.account.ended(self.step, "finished", result=result)


def sources_of(task: Task, base: str | None) -> dict[str, Any]:
    """What a run rests on, with what tells it from others."""
    if not isinstance(task, DiffusionTask):
        return {}
    sets = {"train": task.train, "held_out": task.held_out}
    return {
        "seed": task.settings.seed,
        "data": {name: {"clips": len(clips), "identity": clips.identity} for name, clips in sets.items()},
        "base": {"source": base, "fingerprint": task.base_fingerprint},
    }


def watch(
    task: Task,
    recipe: Any,
    folder: Path,
    *,
    step: int,
    changes: Sequence[Change],
    log_with: TrackerName | None,
    filming: Filming | None,
) -> Watch:
    """A watch over a run that begins, or goes on after `step`. Only now, the run being possible, its records change.

    Args:
        changes: what a run that goes on has otherwise than before.

    Raises:
        ValueError: the tracker is not installed.
    """
    if not place().first:
        return Watch(task, recipe.loop, account=None, records=None, filming=filming)
    told, size = recipe.model_dump(mode="json"), place().size
    account = Account(
        folder,
        told,
        sources=sources_of(task, told.get("base")),
        processes=size,
        step=step,
        changes={change.name: [change.before, change.now] for change in changes},
    )
    tracker = None if log_with is None else open_tracker(log_with, run=account.name, config=told)
    write_text(folder / "recipe.toml", recipe.to_toml())
    account.start()
    remove_later(folder / FOLDER, step)
    records = Records(folder, step=step, tracker=tracker)
    return Watch(task, recipe.loop, account=account, records=records, filming=filming)
