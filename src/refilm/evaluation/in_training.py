"""Scores of a suite during training, from videos of the current weights. Training goes on as if there were none."""

import logging
import random
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from refilm.checkpoints import Base
from refilm.errors import NotFiniteError
from refilm.evaluation.answer import Answer
from refilm.evaluation.card import facts_of
from refilm.evaluation.case import Case, Control
from refilm.evaluation.evaluating import chosen_cases, evaluate, metrics_of
from refilm.evaluation.output import RESULT, read_result, write_result
from refilm.evaluation.result import Result, Source, Values
from refilm.evaluation.suites.suite import Suite
from refilm.evaluation.table import controls_of, mean_of, present_columns, unscored, videos_of
from refilm.media import open_image
from refilm.training.monitor.sampler import TrainingSampler, VideoSizes, prepare_sampler
from refilm.training.tasks.diffusion import DiffusionTask

logger = logging.getLogger("refilm")
FOLDER = "evaluation"
STEP = re.compile(r"step-(\d{8,})")


class SuiteSettings(VideoSizes, Protocol):
    """Settings of an evaluation, see `refilm.evaluation.recipe.EvaluateSettings`."""

    @property
    def every(self) -> int:
        """Number of validations between evaluations."""
        ...

    @property
    def limit(self) -> int:
        """Number of groups that are scored, the first ones."""
        ...

    @property
    def metrics(self) -> Sequence[str]:
        """Names of the metrics; none for all of the suite."""
        ...

    @property
    def controls(self) -> Sequence[Control]:
        """Controls that are scored."""
        ...


@dataclass(frozen=True)
class EncodedCase:
    """A case, encoded before the first step."""

    case: Case
    text: Tensor
    """(1, L, D)."""
    tokens: Tensor | None
    """Tokens of the reference images, (1, M, E). None: it has none."""


class SuiteEvaluation:
    """Scores a suite at validations. Created by `prepare_evaluation`.

    Args:
        suite: names the metrics.
        cases: what is asked for.
        sampler: makes the videos.
        folder: for videos and results.
        every: number of validations between evaluations.
        metrics: names of the metrics; none for all of the suite.
        details: about the model, for results.
    """

    def __init__(
        self,
        suite: Suite,
        cases: Sequence[EncodedCase],
        sampler: TrainingSampler,
        folder: Path,
        *,
        every: int,
        metrics: Sequence[str],
        details: Values,
    ):
        self.suite, self.cases, self.sampler = suite, tuple(cases), sampler
        self.folder, self.every, self.metrics, self.details = folder, every, metrics, details
        self.warned = False

    def due(self, validation: int) -> bool:
        """Whether the n-th validation has an evaluation, counted from 1."""
        return validation % self.every == 0

    def score(self, step: int, *, write: bool) -> dict[str, float]:
        """As `refilm.training.monitor.evaluation.Evaluation`.

        Raises:
            UserError: no metric can run any more.
            OSError: a file cannot be written.
        """
        with unchanged_rng():
            latents = {one.case.name: self._latents(one) for one in self.cases}  # in all processes
            return means_of(self._result(step, latents)) if write else {}

    def _latents(self, one: EncodedCase) -> Tensor | str:
        """The latents of a case on the CPU, or why there are none."""
        request = self.sampler.request
        if one.case.control == "scale0":
            request = request.model_copy(update={"reference_scale": 0.0})
        try:
            return self.sampler.latents(one.text, one.tokens, seed=one.case.seed, request=request).cpu()
        except NotFiniteError as error:
            return str(error)

    def _result(self, step: int, latents: Mapping[str, Tensor | str]) -> Result:
        out = self.folder / f"step-{step:08}"
        shutil.rmtree(out, ignore_errors=True)  # of a run that was killed at this step
        source = _Latents(self.sampler, latents, {**self.details, "step": step})
        cases = [one.case for one in self.cases]
        device = str(self.sampler.pipeline.base.device)
        events = evaluate(self.suite, source, cases, out, device=device, metrics=self.metrics)
        (result,) = (event for event in events if isinstance(event, Result))
        write_result(result, out)
        if not self.warned:
            for line in unscored(result):
                logger.warning("step %d: %s", step, line)
            self.warned = True
        return result

    def remove_later(self, step: int) -> None:
        """Remove the results of later steps, before a run continues after `step`."""
        for at, folder in _steps(self.folder):
            if at > step:
                shutil.rmtree(folder)

    def facts(self) -> dict[str, Any]:
        """The last result, for a model card; empty if there is none."""
        for step, folder in reversed(_steps(self.folder)):
            if (folder / RESULT).is_file():
                return {"evaluation": facts_of(read_result(folder)) | {"step": step}}
        return {}


class _Latents:
    """A source of videos: latents that a model in training has made."""

    controls: ClassVar[Sequence[Control]] = get_args(Control)
    masks = False

    def __init__(self, sampler: TrainingSampler, latents: Mapping[str, Tensor | str], details: Values):
        self.sampler, self.latents, self.details = sampler, latents, details

    def record(self) -> Source:
        return Source(kind="model", details=self.details)

    def answers(self, cases: Sequence[Case], out: Path) -> Iterator[Answer]:
        out.mkdir(parents=True, exist_ok=True)
        for case in cases:
            made = self.latents[case.name]
            if isinstance(made, str):
                yield Answer(case, error=made)
                continue
            (video,) = self.sampler.pipeline.decode(made.to(self.sampler.pipeline.base.device))
            (file, *_) = video.save(out / f"{case.name}.mp4")
            yield Answer(case, file)


def prepare_evaluation(
    suite: Suite, settings: SuiteSettings, base: Base, task: DiffusionTask, folder: Path
) -> SuiteEvaluation:
    """Encode the prompts and images of a suite, and prepare its evaluation.

    Args:
        base: provides encoders and autoencoder; load it with `memory="low"` to save memory.
        task: what is trained.
        folder: the run's folder.

    Raises:
        UserError: a prompt is too long, an image cannot be read, the model does not support the frames or the size, or
            no metric can run here.
    """
    out = folder / FOLDER
    with unchanged_rng():
        metrics_of(suite, str(task.device), masks=False, names=settings.metrics)  # an error before the first step
    cases = chosen_cases(suite, out, controls=settings.controls, limit=settings.limit)
    sampler = prepare_sampler(
        settings, base, task.transformer, adapter=task.adapter, learned=task.stream.most(), autocast=task.autocast
    )
    encoded = list(encode(cases, base))
    details: Values = {"base": base.name, **sampler.request.to_values()}
    if base.preprocessing.image_encoder is not None:
        details["image_encoder"] = base.preprocessing.image_encoder
    options = {"every": settings.every, "metrics": settings.metrics, "details": details}
    return SuiteEvaluation(suite, encoded, sampler, out, **options)


@torch.no_grad()
def encode(cases: Sequence[Case], base: Base) -> Iterator[EncodedCase]:
    """Encode each prompt and each set of images once."""
    texts = {prompt: base.encoders.text([prompt]) for prompt in dict.fromkeys(case.prompt for case in cases)}
    images = dict.fromkeys(case.reference for case in cases if case.reference)
    tokens = {paths: base.encoders.image([open_image(path) for path in paths]).flatten(0, 1)[None] for paths in images}
    for case in cases:
        yield EncodedCase(case, texts[case.prompt], tokens.get(case.reference))


def means_of(result: Result) -> dict[str, float]:
    """The mean of each column for each control, and the fraction of failed videos, by name."""
    means: dict[str, float] = {}
    for control in controls_of(result):
        videos = videos_of(result, control)
        for column in present_columns(result):
            means[f"evaluate/{column.name}/{control}"] = mean_of(videos, column).mean
        means[f"evaluate/failed/{control}"] = sum(video.error is not None for video in videos) / len(videos)
    return means


@contextmanager
def unchanged_rng() -> Iterator[None]:
    """Within the context the global random number generators may be used; afterwards they continue as before."""
    states = random.getstate(), np.random.get_state()
    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _steps(folder: Path) -> list[tuple[int, Path]]:
    """The folders of evaluations with their steps, in order."""
    found = ((STEP.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ()))
    return sorted((int(name[1]), path) for name, path in found if name)
