"""The self-test of recipes: what it passes, and what it says of a run that cannot learn."""

from collections.abc import Callable

import pytest

from refilm.checkpoints import load_base
from refilm.training.diffusion import DiffusionTask
from refilm.training.optimizers import OptimizerSettings
from refilm.training.overfit import Few, Outcome, overfit
from refilm.training.step import StepSettings
from refilm.training.stream import DropSettings

from .encoded import Clips, encode_critters, task_on

SETTINGS = StepSettings(steps=5, precision="fp32", optimizer=OptimizerSettings(learning_rate=3e-3))


@pytest.fixture(scope="module")
def clips(tiny_base) -> Clips:
    return encode_critters(load_base(tiny_base, device="cpu", dtype="float32"), 6)


def outcome(task: DiffusionTask, settings: StepSettings = SETTINGS, clips: int = 4) -> tuple[Outcome, int]:
    """How a self-test ends, and after how many looks."""
    test, looks = overfit(task, settings, clips), 0
    while True:
        try:
            next(test)
        except StopIteration as end:
            return end.value, looks
        looks += 1


def test_a_recipe_that_learns_passes_early(clips, tiny_base):
    found, looks = outcome(task_on(clips, tiny_base))
    print(found, looks)
    assert found.passed, found.words
    assert looks < 8
