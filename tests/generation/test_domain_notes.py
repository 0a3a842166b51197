"""Prompts with words outside a base model's declared domain give a note; other base models give none."""

import pytest

import refilm as library
from refilm.checkpoints.defaults import load_defaults
from refilm.checkpoints.domain import Domain
from refilm.checkpoints.sources import POCKET
from refilm.data import critters

NOTE = "this base model was trained only on critters, drawn creatures; its captions do not contain the words "


def test_the_pocket_model_declares_the_words_of_its_captions():
    domain = load_defaults(POCKET).domain
    assert domain.words == critters.caption_words()
    for index in range(100):
        assert domain.unknown_words(critters.story(0, index, "train").appearance_caption) == ()


@pytest.mark.parametrize(
    ("prompt", "strange"),
    [
        ("A critter waits, at NIGHT.", ()),
        ("a fox and a critter: the fox doesn't wait", ("fox", "and", "doesn't", "wait")),
        ("", ()),
        ("3 critters", ("critters",)),
        ("ein Fuchs übt", ("ein", "fuchs", "übt")),
    ],
)
def test_words_that_no_caption_had(prompt, strange):
    assert Domain(subject="critters", words=critters.caption_words()).unknown_words(prompt) == strange


def test_the_command_says_it_once_and_makes_the_video(refilm, tmp_path):
    result = refilm("generate", "a fox waits at night", "-o", tmp_path / "fox.mp4", "--steps", 1)
    assert result.exit_code == 0, result.output
    assert result.stderr == f"note: {NOTE}'fox'\n"
    assert refilm("generate", "a critter waits at night", "-o", tmp_path / "critter.mp4", "--steps", 1).stderr == ""


def test_the_library_logs_it_and_other_bases_know_of_nothing(tiny_base, caplog):
    library.load("pocket").generate("a fox waits", seed=1, steps=1)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [f"{NOTE}'fox'"]
    caplog.clear()
    library.load(tiny_base).generate("a fox waits", seed=1, steps=1)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
