"""Makes the videos of a list, one by one. An error in a row is recorded, and the next row is made.

Rows are never batched, so that a video does not depend on the rows beside it.
"""

import errno
import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from refilm.errors import UserError, is_of_one_video
from refilm.generation.encodings import Encodings
from refilm.generation.pipeline import Pipeline
from refilm.generation.recipe import VideoRecipe, save_with_recipe, save_without_recipe
from refilm.generation.sampling import SamplerState, Sampling
from refilm.generation.series import state_of
from refilm.generation.states import remove_state, save_state
from refilm.jobs.claims import Claims, Unshared
from refilm.jobs.job import Job
from refilm.jobs.records import Attempt, Record, Records
from refilm.jobs.row import Row
from refilm.jobs.targets import mark_as_own, require_own
from refilm.media import Video, check_size

logger = logging.getLogger("refilm")
PAUSE = 1.0  # seconds between looks for rows that other processes have left
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # of all rows


@dataclass(frozen=True)
class Progress:
    """A sampler step of a row."""

    job: Job
    step: int
    """Number of steps that are done."""
    steps: int


class Batch:
    """The videos of a list that this process makes.

    Args:
        jobs: the rows, in the order in which they are made.
        records: where videos and records are written.
        load: loads the model; called once, and only if a video is missing.
        claims: shares the rows among processes. Default: all rows are this process's own.
        metadata: whether videos carry their recipe.
        save_state_every: steps after which the state of a row is saved. A process that makes the row after this one was
            killed goes on from it, to the same video. Default: only when this process is stopped between two steps.
        paths_from: folder from which the recipes of videos count the paths of their files, so that both can be moved
            together. Default: recipes have the paths of the list's files as they are.
        step_context: the context in which each sampler step runs. In one that defers signals to its end, a process
            that is stopped always leaves the state of its row.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        records: Records,
        load: Callable[[], Pipeline],
        *,
        claims: Claims | Unshared | None = None,
        metadata: bool = True,
        save_state_every: int | None = None,
        paths_from: Path | None = None,
        step_context: Callable[[], AbstractContextManager[object]] = nullcontext,
    ):
        self.jobs, self.records, self.claims = jobs, records, claims or Unshared()
        self.metadata, self.save_state_every, self.step_context = metadata, save_state_every, step_context
        self.paths_from = paths_from
        self._load, self._encodings = load, Encodings()

    @cached_property
    def pipeline(self) -> Pipeline:
        """The model."""
        return self._load()

    def run(self) -> Generator[Progress | Record, None, None]:
        """Make the missing videos. Yields after every sampler step, and the record of each row that this process ends.

        A row that failed before this call is tried once more. With claims, this waits at the end for the rows of other
        processes, and makes those that they leave.

        Raises:
            OSError: a file cannot be written.
            Exception: a bug; it is recorded as the error of its row before it is raised.
        """
        before = {job.output: self.records.of(job) for job in self.jobs}
        waiting = [job for job in self.jobs if not _is_done(before[job.output])]
        waiting = [_checked(job, lambda job: require_own(job, self.records)) for job in waiting]
        if any(job.error is None for job in waiting):
            pipeline = self.pipeline  # an error of the model is none of a row
            waiting = [_checked(job, lambda job: self._require_fitting(job, pipeline)) for job in waiting]
        waiting.sort(key=self._urgency)
        while waiting:
            left = []
            for job in waiting:
                if not (yield from self._visit(job, before[job.output])):
                    left.append(job)
            if len(left) == len(waiting):
                time.sleep(PAUSE)
            waiting = left

    def _urgency(self, job: Job) -> tuple[bool, int]:
        """Errors are known before the first video, and a row that kills its processes does not delay the others."""
        return job.error is None, self.claims.deaths(job.output)

    def _require_fitting(self, job: Job, pipeline: Pipeline) -> None:
        """Check that the settings of a row fit the model, and its video the format of its file."""
        assert job.row is not None
        request = pipeline.request(**job.row.request())
        request.latent_shape(pipeline.base.size.channels, pipeline.base.compression)
        check_size(self.records.out / job.output, request.height, request.width, job.row.scale or 1)

    def _visit(self, job: Job, before: Record | None) -> Generator[Progress | Record, None, bool]:
        """Make a row, unless it is made or another process makes it; returns whether it has ended."""
        if self._has_ended(job, before):
            return True
        with self.claims.taken(job.output) as claim:
            if claim is None:
                return False
            if self._has_ended(job, before):  # by another process, before this one took the claim
                return True
            attempt = Attempt(job, self.records)
            try:
                video, recipe = yield from self._video(job)
                if not claim.is_held():
                    logger.warning("%s: this process was stopped for long, another one makes the video", job.place)
                    return False
                files = self._save(job, video, recipe)
                remove_state(self.records.state(job))
                record = attempt.done(files)
            except Exception as error:
                if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                    raise
                record = attempt.failed(error)
                if not is_of_one_video(error):
                    raise
            yield record
            return True

    def _has_ended(self, job: Job, before: Record | None) -> bool:
        """Whether a row is done, or has failed since this call began."""
        record = self.records.of(job)
        return _is_done(record) or (record is not None and record != before)

    def _video(self, job: Job) -> Generator[Progress, None, tuple[Video, VideoRecipe]]:
        if job.row is None or job.error is not None:
            raise UserError(job.error or "")
        run, state = self._sampling(job, job.row), self.records.state(job)
        stored = state_of(run.recipes[0], state)
        if stored is not None:
            run = self._sampling(job, job.row, stored.state)
        return (yield from self._finished(job, run))

    def _finished(self, job: Job, run: Sampling) -> Generator[Progress, None, tuple[Video, VideoRecipe]]:
        """Run the remaining steps and decode. A run that is stopped leaves its state."""
        state, steps = self.records.state(job), run.request.steps
        try:
            while run.done < steps:
                with self.step_context():
                    next(run)
                if self.save_state_every and run.done % self.save_state_every == 0 and run.done < steps:
                    save_state(run, state)
                yield Progress(job, run.done, steps)
            next(run, None)  # its end
            return self.pipeline.decode(run.latents)[0], run.finished_recipes()[0]
        except BaseException as error:
            stopped = not isinstance(error, Exception)  # by a signal, or by the caller's break
            if stopped and run.resumable:
                save_state(run, state)
            raise

    def _sampling(self, job: Job, row: Row, state: SamplerState | None = None) -> Sampling:
        return self.pipeline.sample(
            [row.prompt],
            [job.subjects or None],
            seeds=[job.seed],
            request=self.pipeline.request(**row.request()),
            negative_reference=job.negative or None,
            state=state,
            encodings=self._encodings,
        )

    def _save(self, job: Job, video: Video, recipe: VideoRecipe) -> tuple[str, ...]:
        """Write a video atomically; returns the names of its files.

        Its recipe has neither date nor duration, which the record has: the file is the same whenever it is made.
        """
        assert job.row is not None
        path, scale = self.records.out / job.output, job.row.scale
        require_own(job, self.records)  # a file may have appeared meanwhile
        mark_as_own(job, self.records)
        if not self.metadata:
            return tuple(file.name for file in save_without_recipe(video, path, scale=scale))
        made = recipe.made.model_copy(update={"date": None, "seconds": None})
        recipe = recipe.model_copy(update={"scale": scale, "made": made})
        if self.paths_from is not None:
            recipe = recipe.with_paths_from(self.paths_from)
        return tuple(file.name for file in save_with_recipe(video, recipe, path))


def _checked(job: Job, check: Callable[[Job], None]) -> Job:
    """The job; with an error, if it was valid and a check refuses it."""
    if job.error is not None:
        return job
    try:
        check(job)
    except UserError as error:
        return replace(job, error=str(error))
    return job


def _is_done(record: Record | None) -> bool:
    return record is not None and record.status == "done"
