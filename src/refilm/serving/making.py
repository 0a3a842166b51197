"""Makes the video of one job, step by step, from the state that an earlier worker has left, if there is one."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from refilm.control import Subject
from refilm.errors import UserError
from refilm.generation.attention_maps import AttentionMaps
from refilm.generation.encodings import Encodings
from refilm.generation.pipeline import Pipeline
from refilm.generation.sampling import SamplerState, Sampling
from refilm.generation.series import state_of
from refilm.generation.states import save_state
from refilm.jobs.job import Job, jobs_of
from refilm.previews import Preview
from refilm.serving.explaining import heat_maps
from refilm.serving.folders import Folders
from refilm.serving.interrupts import Interrupts
from refilm.serving.job import VideoJob
from refilm.serving.requests import EXPLAIN, row_of
from refilm.serving.results import write_preview, write_results

PREVIEW_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class Progress:
    """A sampler step."""

    step: int
    """Number of steps that are done."""
    steps: int
    eta: float | None
    """Seconds until the video is written; None: not known yet."""
    preview: bool
    """Whether there is a new preview."""


class Maker:
    """Makes videos with one loaded model.

    Args:
        pipeline: the model.
        folders: the files of the store.
        interrupts: what can end the work.
        save_state_every: seconds after which the sampler's state is saved again; 0 saves it after every step.
    """

    def __init__(self, pipeline: Pipeline, folders: Folders, interrupts: Interrupts, *, save_state_every: float = 20.0):
        self.pipeline, self.folders, self.interrupts = pipeline, folders, interrupts
        self.save_state_every = save_state_every
        self._encodings = Encodings()
        self._preview: Preview | None = pipeline.base.preview
        self._decoding = 0.0  # seconds that the last video took after its last step

    def steps(self, job: VideoJob) -> Iterator[Progress | dict[str, int]]:
        """Yield after each step, and at the end the names and sizes of the results.

        Raises:
            Interrupted: as `Interrupts` decides. If the process stops, the state after the last step is saved.
            UserError: the request is invalid.
        """
        maps = AttentionMaps() if job.request.get(EXPLAIN) else None
        with self.interrupts.work():
            listed = self._listed(job)
            run = self._started(job, listed, maps)
        try:
            yield from self._sampled(job, run)
            began = time.monotonic()
            with self.interrupts.work():
                video, recipe = self.pipeline.decode(run.latents)[0], run.finished_recipes()[0]
        except BaseException:
            if self.interrupts.stopping and not self.interrupts.dropped and run.resumable:
                save_state(run, self._state(job))
            raise
        recipe = recipe.model_copy(update={"scale": job.request.get("scale")})
        explained = {} if maps is None else heat_maps(self.pipeline, maps, video, listed.subjects)
        files = write_results(video, recipe, self.folders.results(job), job.output, explained)
        self._decoding = time.monotonic() - began
        yield files

    def _listed(self, job: VideoJob) -> Job:
        """What a job asks for."""
        listed = jobs_of([(job.id, row_of(job.request))], self.folders.inputs(job.id) / "request.json")[0]
        if listed.error is not None:
            raise UserError(listed.error)
        return listed

    def _started(self, job: VideoJob, listed: Job, maps: AttentionMaps | None) -> Sampling:
        """The run of a job; it begins after the last saved step, but with heat maps, which are of all steps."""
        if maps is not None:
            return self._sampling(listed, maps=maps)
        run = self._sampling(listed)
        stored = state_of(run.recipes[0], self.folders.state(job.id))
        return run if stored is None else self._sampling(listed, stored.state)

    def _sampling(self, job: Job, state: SamplerState | None = None, maps: AttentionMaps | None = None) -> Sampling:
        assert job.row is not None
        subjects: tuple[Subject, ...] = job.subjects
        return self.pipeline.sample(
            [job.row.prompt],
            [subjects or None],
            seeds=[job.seed],
            request=self.pipeline.request(**job.row.request()),
            negative_reference=job.negative or None,
            wrap_prediction=maps,
            state=state,
            encodings=self._encodings,
        )

    def _sampled(self, job: VideoJob, run: Sampling) -> Iterator[Progress]:
        """Run the remaining steps; saves the state and shows previews from time to time."""
        first, steps = run.done, run.request.steps
        began = saved = shown = time.monotonic()
        while run.done < steps:
            with self.interrupts.step():
                latest = next(run)
            now, left = time.monotonic(), steps - run.done
            if left and now - saved >= self.save_state_every:
                save_state(run, self._state(job))
                saved = time.monotonic()
            show = self._preview is not None and now - shown >= PREVIEW_EVERY and left > 0
            if show and self._preview is not None:
                self._show(self._preview, latest.clean[0], job)
                shown = time.monotonic()
            each = (time.monotonic() - began) / (run.done - first)
            yield Progress(run.done, steps, each * left + self._decoding, show)
            self.interrupts.end_work()
        next(run, None)  # its end

    def _state(self, job: VideoJob) -> Path:
        path = self.folders.state(job.id)
        path.parent.mkdir(exist_ok=True)
        return path

    def _show(self, preview: Preview, latents: Tensor, job: VideoJob) -> None:
        base = self.pipeline.base
        write_preview(preview.frames(latents), base.defaults.fps / base.compression.time, self.folders.preview(job.id))
