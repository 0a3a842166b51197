"""The self-test of recipes: which recipes pass, and the causes it prints if one does not."""

from dataclasses import replace

import pytest
import torch

from refilm.data.drawn import Critters
from refilm.data.encoding import EncodedSet
from refilm.data.samples import Sample
from refilm.training.overfit import Outcome, OverfitProgress, explain, few_of, overfit
from refilm.training.settings import DropSettings, OptimizerSettings, StepSettings
from refilm.training.tasks.diffusion import DiffusionTask

from .encoded import encoded, task_on

SETTINGS = StepSettings(steps=5, precision="fp32", optimizer=OptimizerSettings(kind="adamw", learning_rate=3e-3))


@pytest.fixture(scope="module")
def clips(tiny_base, tmp_path_factory) -> EncodedSet:
    return encoded(tiny_base, tmp_path_factory.mktemp("tiny"), 6)


def outcome(task: DiffusionTask, settings: StepSettings = SETTINGS, clips: int = 4) -> tuple[Outcome, int]:
    """How a self-test ends, and after how many validations."""
    test, validations = overfit(task, settings, clips), 0
    while True:
        try:
            next(test)
        except StopIteration as end:
            return end.value, validations
        validations += 1


def test_a_recipe_that_learns_passes_early(clips, tiny_base):
    found, validations = outcome(task_on(clips, tiny_base))
    assert found.passed, found.words
    assert validations < 8


@pytest.mark.parametrize(
    ("optimizer", "task_settings", "words"),
    [
        ({"kind": "adamw", "learning_rate": 1e-30}, {}, "the weights do not change, although there are gradients"),
        (
            {"kind": "adamw", "learning_rate": 1e-8},
            {},
            "should have fallen by 10%; the weights changed by 0.0% of their norm: raise",
        ),
        (
            {"learning_rate": 3e-3},
            {"drop": DropSettings(text=0, reference=1, both=0)},
            "no gradient reaches the trained parameters: check that the reference is not always",
        ),
    ],
)
def test_one_that_cannot_learn_gets_the_cause(clips, tiny_base, monkeypatch, optimizer, task_settings, words):
    monkeypatch.setattr("refilm.training.overfit.STEPS", 25)
    settings = SETTINGS.model_copy(update={"optimizer": OptimizerSettings(**optimizer)})
    found, _ = outcome(task_on(clips, tiny_base, **task_settings), settings)
    assert not found.passed
    assert words in found.words


def test_a_rising_loss_suggests_a_lower_rate_and_an_overflow_at_step_0_suggests_fp32(clips, tiny_base):
    rising = OverfitProgress(
        25, 200, start=1.0, loss=1.5, scores={"none": 1.5}, found=None, gradient_norm=3.0, moved=0.5
    )
    assert explain(rising) == "the loss rose from 1.0000 to 1.5000 in 25 steps: lower loop.optimizer.learning_rate"
    task = task_on(clips, tiny_base)
    with torch.no_grad():
        task.adapter.layers[0].out.bias.fill_(torch.inf)
    found, validations = outcome(task)
    assert not found.passed
    assert validations == 0
    assert 'with the initial weights; try loop.precision = "fp32"' in found.words


class SameImage(Critters):
    """Clips that all have the references of the first."""

    def __getitem__(self, index: int, /) -> Sample:
        return replace(super().__getitem__(index), references=super().__getitem__(0).references)


@pytest.mark.slow
def test_one_that_learns_without_the_image_fails(tiny_base, tmp_path):
    """All references are the same image: the loss falls, but not for what it shows."""
    found, _ = outcome(task_on(encoded(tiny_base, tmp_path, SameImage(6)), tiny_base))
    assert not found.passed
    told = "but not because of the reference: the right and a wrong reference give the same loss (gap 0.0000 +- 0.0000)"
    assert told in found.words


def test_few_clips_show_as_many_subjects_as_there_are(clips, monkeypatch):
    own = [clips.entries[index].source for index in range(6)]
    subjects = dict(zip(own, "aabacb", strict=True))
    monkeypatch.setattr("refilm.training.overfit.subject_of", lambda entry: subjects[entry.source])
    for count, wanted in ((3, [0, 2, 4]), (4, [0, 2, 4, 1])):
        few = few_of(clips, count)
        assert [entry.source for entry in few.entries] == [own[index] for index in wanted]
        assert torch.equal(few[1].mean, clips[2].mean)
    for count in (1, 7):
        with pytest.raises(ValueError, match=f"--overfit {count}: give 2 to 6, the number of training clips"):
            few_of(clips, count)
