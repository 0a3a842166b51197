"""Self-test of a recipe: overfit a few clips, and name the likely cause if the loss does not fall.

Writes nothing. The recipe is unchanged - drops, precision, learning rate, trained parameters - except for the
schedule: few steps, a short warm-up, no learning-rate decay, and the weights themselves instead of their average.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from refilm.data.encoding import Subset
from refilm.errors import NotFiniteError, UserError
from refilm.training.batches.subjects import Groups
from refilm.training.batches.validation_set import subject_of
from refilm.training.distributed.parallel import place
from refilm.training.engine.step import Trainer
from refilm.training.settings import DiffusionSettings, StepSettings, ValidationSettings
from refilm.training.tasks.diffusion import DiffusionTask
from refilm.training.tasks.reference_usage import Usage

STEPS = 200
VALIDATE_EVERY = 25
BATCH = 8
SAMPLES = 32  # of a validation, minimum
FALL = 0.1  # fraction of the initial loss by which it must fall
SEARCHED = 1000  # clips that are searched for different subjects


@dataclass(frozen=True)
class OverfitProgress:
    """State of a self-test after some steps."""

    step: int
    steps: int
    start: float
    """Validation loss on the clips before the first step."""
    loss: float
    """Validation loss now."""
    scores: Mapping[str, float]
    """All scores of the validation on these clips."""
    found: Usage | None
    """Whether the reference is used; None without an adapter."""
    gradient_norm: float
    """Largest gradient norm so far, before clipping."""
    moved: float
    """Norm of the change of the trained weights, as a fraction of their initial norm."""

    @property
    def fall(self) -> float:
        """Fraction of the initial loss by which it has fallen."""
        return 1 - self.loss / self.start

    @property
    def passed(self) -> bool:
        """Whether the loss has fallen far enough and, with an adapter, because of the reference."""
        return self.fall >= FALL and (self.found is None or self.found.used)


@dataclass(frozen=True)
class Outcome:
    """Result of a self-test."""

    passed: bool
    words: str


def overfit(task: DiffusionTask, settings: StepSettings, clips: int) -> Generator[OverfitProgress, None, Outcome]:
    """Train a recipe's task on a few of its clips, yielding at each validation; ends as soon as the test is passed.

    Args:
        task: a new task; its weights change.
        settings: how its steps are computed.
        clips: number of clips, of as many different subjects as possible.

    Raises:
        UserError: fewer than two clips, or more than there are.
    """
    few = few_of(task.train, clips, most=task.settings.subjects.most)
    task = task.on(few, few, sample_settings(task.settings))
    run = Trainer(task, step_settings(settings))
    before = {name: _sampled(p) for name, p in run.trained.items()}
    start = _loss(task.validate())
    norm, progress = 0.0, None
    while run.step < STEPS and not (progress and progress.passed):
        try:
            norm = max(norm, run.advance()["gradient_norm"])
        except NotFiniteError as error:
            return Outcome(False, str(error))
        if run.step % VALIDATE_EVERY == 0:
            scores = task.validate()
            moved, found = _moved(run.trained, before), task.reference_usage(scores)
            progress = OverfitProgress(run.step, STEPS, start, _loss(scores), scores, found, norm, moved)
            yield progress
    assert progress is not None
    return Outcome(progress.passed, explain(progress))


def explain(progress: OverfitProgress) -> str:
    """What a self-test found, and how to fix it."""
    found, far = progress.found, f"from {progress.start:.4f} to {progress.loss:.4f} in {progress.step} steps"
    if progress.passed:
        return f"the loss fell {far}" + (f"; {found.words}" if found else "")
    if progress.gradient_norm == 0:
        return (
            "no gradient reaches the trained parameters: check that the reference is not always dropped "
            "(diffusion.drop), and that the references' tokens are not all zero"
        )
    if progress.moved == 0:
        return (
            f"the weights do not change, although there are gradients (norm {progress.gradient_norm:.2g}): "
            "raise loop.optimizer.learning_rate"
        )
    if progress.fall < -FALL:
        return f"the loss rose {far}: lower loop.optimizer.learning_rate"
    if progress.fall < FALL:
        return (
            f"the loss went {far}, but should have fallen by {FALL:.0%}; the weights changed by {progress.moved:.1%} "
            "of their norm: raise loop.optimizer.learning_rate, or drop text and reference less often"
        )
    assert found is not None
    return f"the loss fell {far}, but not because of the reference: {found.words}"


def few_of(clips: Subset, count: int, *, most: int = 1) -> Subset:
    """The first clips of different subjects, then others if these are not enough. If samples have up to `most`
    subjects, clips of the same part of the same video count as one.

    Raises:
        UserError: fewer than two, or more than there are.
    """
    groups = Groups(clips, most)
    firsts = groups.firsts(np.arange(len(clips))).tolist()
    if not 2 <= count <= len(firsts):
        raise UserError(f"--overfit {count}: give 2 to {len(firsts)}, the number of training clips")
    first: dict[str, int] = {}
    for clip in firsts[:SEARCHED]:
        first.setdefault(subject_of(clips.entries[clip]), clip)
        if len(first) == count:
            break
    rest = (clip for clip in firsts if clip not in first.values())
    chosen = [*first.values(), *(next(rest) for _ in range(count - len(first)))]
    return clips.chosen([clip for own in chosen for clip in groups.clips(own)])


def sample_settings(settings: DiffusionSettings) -> DiffusionSettings:
    """Settings of the samples: the last lesson, with small batches."""
    last = settings.curriculum[-1]
    lesson = last.model_copy(update={"batch": max(place().size, min(last.batch, BATCH))})
    samples = max(SAMPLES, settings.validation.samples)
    validation = ValidationSettings(samples=samples, batch=settings.validation.batch)
    return settings.model_copy(update={"curriculum": (lesson,), "validation": validation})


def step_settings(settings: StepSettings) -> StepSettings:
    """Settings of the steps: a short warm-up, no learning-rate decay and no averaging."""
    changes = {"warm_up": min(settings.optimizer.warm_up, 10), "decay_fraction": 0.0, "ema": 0.0}
    optimizer = settings.optimizer.model_copy(update=changes)
    return settings.model_copy(update={"steps": STEPS, "accumulate": 1, "optimizer": optimizer})


def _loss(scores: Mapping[str, float]) -> float:
    return scores["right"] if "right" in scores else scores["none"]


def _sampled(weight: Tensor) -> Tensor:
    """Up to a few thousand values of a weight, in float32."""
    values = weight.detach().flatten()
    return values[:: max(1, len(values) // 4096)].float().clone()


def _moved(weights: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> float:
    change = torch.stack([(_sampled(weights[name]) - old).square().sum() for name, old in before.items()]).sum()
    return (change / torch.stack([old.square().sum() for old in before.values()]).sum()).sqrt().item()
