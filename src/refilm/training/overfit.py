"""The self-test of a recipe: on a few clips it must drive their loss down soon, or what is wrong has a name.

Nothing is kept of it. The recipe stays as it is - drops, precision, learning rate, what trains - but for the course:
few steps, a short warm-up, no fall of the learning rate, the weights themselves instead of their average.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from refilm.data.encoding import Subset
from refilm.training.batches.validation_set import subject_of
from refilm.training.distributed.parallel import place
from refilm.training.engine.step import StepSettings, Trainer
from refilm.training.tasks.diffusion import DiffusionSettings, DiffusionTask
from refilm.training.tasks.reference_usage import Verdict
from refilm.training.tasks.validation import ValidationSettings

STEPS = 200
LOOK_EVERY = 25
BATCH = 8
SAMPLES = 32  # of a validation, at least
FALL = 0.1  # share of its start by which the loss must have fallen
SEARCHED = 1000  # clips among which those of different subjects are looked for


@dataclass(frozen=True)
class Look:
    """Where a self-test is after some steps."""

    step: int
    steps: int
    start: float
    """Loss on fixed samples of the clips before the first step."""
    loss: float
    """The same now."""
    scores: Mapping[str, float]
    """All that a validation on these clips finds."""
    found: Verdict | None
    """What that says of the image; none without one."""
    gradient_norm: float
    """The largest so far, before clipping."""
    moved: float
    """How far the weights that train have come: the length of their change, as a share of their own."""

    @property
    def fall(self) -> float:
        """The share of its start by which the loss has fallen."""
        return 1 - self.loss / self.start

    @property
    def passed(self) -> bool:
        """Whether the loss has fallen far enough, and for the image's sake where there is one."""
        return self.fall >= FALL and (self.found is None or self.found.used)


@dataclass(frozen=True)
class Outcome:
    """How a self-test ended."""

    passed: bool
    words: str


def overfit(task: DiffusionTask, settings: StepSettings, clips: int) -> Generator[Look, None, Outcome]:
    """Train a recipe's task on a few of its clips, yielding now and then; ends as soon as the test is passed.

    Args:
        task: fresh; its weights change.
        settings: how its steps are computed.
        clips: how many to learn, of as many subjects as there are.

    Raises:
        ValueError: fewer than two clips, or more than there are.
    """
    few = few_of(task.train, clips)
    task = task.on(few, few, course(task.settings))
    run = Trainer(task, brief(settings))
    before = {name: _sampled(p) for name, p in run.trained.items()}
    start = _loss(task.validate())
    norm, look = 0.0, None
    while run.step < STEPS and not (look and look.passed):
        try:
            norm = max(norm, run.advance()["gradient_norm"])
        except FloatingPointError as error:
            return Outcome(False, str(error))
        if run.step % LOOK_EVERY == 0:
            scores = task.validate()
            moved, found = _moved(run.trained, before), task.verdict(scores)
            look = Look(run.step, STEPS, start, _loss(scores), scores, found, norm, moved)
            yield look
    assert look is not None
    return Outcome(look.passed, explain(look))


def explain(look: Look) -> str:
    """What a self-test found, and what to do about it."""
    found, far = look.found, f"from {look.start:.4f} to {look.loss:.4f} in {look.step} steps"
    if look.passed:
        return f"the loss fell {far}" + (f"; {found.words}" if found else "")
    if look.gradient_norm == 0:
        return (
            "no gradient reaches what trains, so that nothing can be learned: see that the reference is not always "
            "dropped (diffusion.drop), and that the images' tokens are not all zero"
        )
    if look.moved == 0:
        return (
            f"the weights do not move, although gradients are there (norm {look.gradient_norm:.2g}): "
            "raise loop.optimizer.learning_rate"
        )
    if look.fall < -FALL:
        return f"the loss rose {far}: lower loop.optimizer.learning_rate"
    if look.fall < FALL:
        return (
            f"the loss went {far}, and should have fallen by {FALL:.0%}; the weights have moved by {look.moved:.1%} of "
            "their length: raise loop.optimizer.learning_rate, drop text and reference less often"
        )
    assert found is not None
    return f"the loss fell {far}, but not for the image's sake: {found.words}"


def few_of(clips: Subset, count: int) -> Subset:
    """The first clips of different subjects, and then, if these are not enough, others.

    Raises:
        ValueError: fewer than two, or more than there are.
    """
    if not 2 <= count <= len(clips):
        raise ValueError(f"--overfit {count}: give from 2 to {len(clips)} clips, which is how many there are")
    first: dict[str, int] = {}
    for clip in range(min(SEARCHED, len(clips))):
        first.setdefault(subject_of(clips.entries[clip]), clip)
        if len(first) == count:
            break
    rest = (clip for clip in range(len(clips)) if clip not in first.values())
    return clips.chosen([*first.values(), *(next(rest) for _ in range(count - len(first)))])


def course(settings: DiffusionSettings) -> DiffusionSettings:
    """What is drawn: as in the last lesson, few at a time."""
    last = settings.curriculum[-1]
    lesson = last.model_copy(update={"batch": max(place().size, min(last.batch, BATCH))})
    samples = max(SAMPLES, settings.validation.samples)
    looked = ValidationSettings(samples=samples, batch=settings.validation.batch)
    return settings.model_copy(update={"curriculum": (lesson,), "validation": looked})


def brief(settings: StepSettings) -> StepSettings:
    """How steps are computed: as ever, but at full speed soon and until the end."""
    changes = {"warm_up": min(settings.optimizer.warm_up, 10), "decay_fraction": 0.0, "ema": 0.0}
    optimizer = settings.optimizer.model_copy(update=changes)
    return settings.model_copy(update={"steps": STEPS, "accumulate": 1, "optimizer": optimizer})


def _loss(scores: Mapping[str, float]) -> float:
    return scores["right"] if "right" in scores else scores["none"]


def _sampled(weight: Tensor) -> Tensor:
    """Up to some thousand values of a weight, in float32."""
    values = weight.detach().flatten()
    return values[:: max(1, len(values) // 4096)].float().clone()


def _moved(weights: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> float:
    change = torch.stack([(_sampled(weights[name]) - old).square().sum() for name, old in before.items()]).sum()
    return (change / torch.stack([old.square().sum() for old in before.values()]).sum()).sqrt().item()
