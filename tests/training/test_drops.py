"""The default drops, and why an adapter that trains alone needs none."""

import pytest
import torch

from refilm.checkpoints import LoraSettings
from refilm.data.encoding import EncodedSet
from refilm.training.settings import ClipLesson, DropSettings, TrainSettings

from .encoded import encoded, task_on

MANY = (ClipLesson(until=1, batch=400),)


@pytest.fixture(scope="module")
def clips(tiny_base, tmp_path_factory) -> EncodedSet:
    return encoded(tiny_base, tmp_path_factory.mktemp("tiny"), 4)


def kept(task) -> tuple[float, float]:
    """Fractions of a batch's clips that keep text and reference."""
    batch = task.draw(task.stream, 0, task.samples(0))
    return batch.text_scale.mean().item(), batch.reference_scale.mean().item()


def test_an_adapter_that_trains_alone_sees_all(clips, tiny_base):
    assert kept(task_on(clips, tiny_base, curriculum=MANY)) == (1, 1)


def test_a_transformer_that_trains_sees_some_clips_without(clips, tiny_base):
    task = task_on(clips, tiny_base, training=TrainSettings(what="all"), curriculum=MANY)
    assert kept(task) == (pytest.approx(0.9, abs=0.05), pytest.approx(0.9, abs=0.05))
    assert TrainSettings(lora=LoraSettings()).changes_transformer


def test_only_the_drops_of_the_recipe_happen(clips, tiny_base):
    for what in ("adapter", "all"):
        drop = DropSettings(text=0.5)
        task = task_on(clips, tiny_base, training=TrainSettings(what=what), curriculum=MANY, drop=drop)
        assert kept(task) == (pytest.approx(0.5, abs=0.1), 1)


def test_a_clip_without_its_reference_teaches_an_adapter_nothing(clips, tiny_base):
    task = task_on(clips, tiny_base, "own", drop=DropSettings(reference=0.5))
    batch = task.draw(task.stream, 0, task.samples(0))
    losses, weights = task.losses(batch), list(task.adapter.parameters())
    for scale, learned in ((0, False), (1, True)):
        of = batch.reference_scale == scale
        assert of.any()
        gradients = torch.autograd.grad(losses[of].sum(), weights, retain_graph=True)
        assert any(gradient.any() for gradient in gradients) == learned
