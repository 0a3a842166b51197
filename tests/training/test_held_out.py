"""Held-out subjects are never trained on, and every validation uses only them."""

from collections.abc import Callable

import pytest

from refilm.data import critters
from refilm.data.encoding import EncodedSet
from refilm.pocket.autoencoder import AutoencoderSettings, AutoencoderTask
from refilm.pocket.contrastive import EncodersSettings, EncodersTask
from refilm.recipes import read_recipe
from refilm.training.batches.datasets import DataSets

from ..tiny_recipe import write_recipe

LEARNED, HELD_OUT = ({subject.appearance for subject in critters.subjects(split)} for split in ("train", "held_out"))


@pytest.fixture
def shown(monkeypatch) -> Callable[[], set[str]]:
    """The looks of whomever was drawn since the last call."""
    seen: set[str] = set()
    story = critters.story

    def noted(*given):
        told = story(*given)
        seen.add(told.subject.appearance)
        return told

    def take() -> set[str]:
        taken = set(seen)
        seen.clear()
        return taken

    monkeypatch.setattr(critters, "story", noted)
    return take


def test_the_autoencoder_learns_from_some_and_is_validated_on_others(shown):
    lesson = {"until": 1, "batch": 32, "frames": 1, "crop": 16}
    task = AutoencoderTask(AutoencoderSettings(channels=(8, 16, 16), size=32, curriculum=(lesson,)))
    assert shown() <= HELD_OUT  # what it is validated on is drawn at once
    task.loss(0, task.samples(0))
    learned = shown()
    assert len(learned) > 16
    assert learned <= LEARNED


def test_the_encoders_learn_from_some_and_are_validated_on_others(shown):
    settings = EncodersSettings(text_layers=1, image_layers=1, width=16, heads=2, batch=32)
    task = EncodersTask(settings)
    assert shown() <= LEARNED  # its tokenizer's words
    task.loss(0, task.samples(0))
    learned = shown()
    assert len(learned) > 16
    assert learned <= LEARNED
    task.validate()
    validated = shown()
    assert len(validated) > 16
    assert validated <= HELD_OUT


def test_encoded_critters_are_validated_on_others(tiny_base, tmp_path):
    recipe = read_recipe(write_recipe(tmp_path / "tiny.toml", base=tiny_base, cache=tmp_path / "cache"))
    for _ in recipe.prepare():
        pass
    train, held_out = DataSets(recipe.data).encoded(recipe.open_base("float32", recipe.task().device).size)
    assert {entry.subject for entry in train.entries} <= LEARNED
    assert {entry.subject for entry in held_out.entries} <= HELD_OUT
    for name, wanted in (("train", LEARNED), ("held_out", HELD_OUT)):
        clips = EncodedSet(tmp_path / "cache" / name)
        assert {entry.subject for entry in clips.entries} <= wanted
        assert {entry.video.split()[1] for entry in clips.entries} == {name}
