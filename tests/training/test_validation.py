"""What validations measure, and what they say of it: on the tiny base, and the pocket model where sense is needed."""

import math

import pytest
import torch

from refilm.data.encoding import EncodedSet
from refilm.model import Block
from refilm.training.fixed import chosen_clips, others
from refilm.training.verdicts import unused_in_a_row, verdict

from .encoded import encoded, task_on


@pytest.fixture(scope="module")
def clips(tiny_base, tmp_path_factory) -> EncodedSet:
    return encoded(tiny_base, tmp_path_factory.mktemp("tiny"), 6)


@pytest.fixture(scope="module")
def pocket_clips(tmp_path_factory) -> EncodedSet:
    return encoded("pocket", tmp_path_factory.mktemp("pocket"), 8)


def test_two_validations_of_the_same_weights_are_the_same(clips, tiny_base):
    task = task_on(clips, tiny_base, "own")
    layers = [block.reference for block in task.transformer.trunk.blocks]
    scores = task.validate()
    torch.manual_seed(123)
    assert task.validate() == scores
    assert [block.reference for block in task.transformer.trunk.blocks] == layers
    with torch.no_grad():
        task.adapter.layers[1].out.weight *= 2
    assert task.validate()["right"] != scores["right"]


def test_scores_are_what_their_names_say(clips, tiny_base):
    task = task_on(clips, tiny_base, "own")
    scores = task.validate()
    assert scores["gap"] == pytest.approx(scores["wrong"] - scores["right"])
    assert scores["help"] == pytest.approx(scores["none"] - scores["right"])
    for name in ("right", "wrong", "none", "gap"):
        quarters = [scores[f"{name}/q{n}"] for n in range(1, 5)]
        assert min(quarters) < scores[name] < max(quarters)
    task.adapter.detach(task.transformer)
    bare = task_on(clips, tiny_base, "fresh").validate()
    assert bare["none"] == bare["right"] == bare["wrong"] == pytest.approx(scores["none"])


def test_a_layer_that_adds_twice_its_tokens_has_a_share_of_two(clips, tiny_base):
    class Doubling(torch.nn.Module):
        def forward(self, video, reference):
            return -2 * video

    task = task_on(clips, tiny_base, "own")
    before = task.validate()
    assert before["share/00"] > 0
    task.transformer.trunk.blocks[0].reference = Doubling()
    scores = task.validate()
    assert scores["share/00"] == pytest.approx(2, rel=1e-5)
    assert len([name for name in scores if name.startswith("share/")]) == 2
    assert all(isinstance(module, Block) for module in task.transformer.trunk.blocks)


def test_every_sample_is_compared_with_another_subject():
    assert others(["a", "a", "b", "b", "a"]) == [2, 2, 4, 4, 2]
    assert others(["a", "a"]) is None


def test_samples_are_spread_over_the_clips():
    assert sorted(chosen_clips(4, 8)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert chosen_clips(1000, 4) == [0, 250, 500, 750]


def test_with_one_subject_alone_there_is_no_wrong_picture(clips, tiny_base, monkeypatch):
    monkeypatch.setattr("refilm.training.fixed.subject_of", lambda entry: "fox")
    scores = task_on(clips, tiny_base).validate()
    assert "wrong" not in scores
    found = verdict(scores)
    assert not found.used
    assert "all held-out clips show one subject" in found.words


def test_a_fresh_adapter_is_found_not_to_use_the_picture(clips, tiny_base):
    scores = task_on(clips, tiny_base).validate()
    found = verdict(scores)
    assert not found.used
    assert found.words.startswith(
        "right and wrong picture give the same loss (gap 0.0000 +- 0.0000): the picture is not being used; "
    )
    assert {scores[name] for name in scores if name.startswith("share/")} == {0.0}


def test_the_pocket_adapter_is_found_to_use_the_picture(pocket_clips):
    scores = task_on(pocket_clips, "pocket", "own").validate()
    found = verdict(scores)
    assert found.used
    assert "the picture is used" in found.words
    assert scores["gap"] > 5 * scores["gap_error"] > 0


SCORES = {
    "right": 0.05,
    "wrong": 0.06,
    "none": 0.055,
    "gap": 0.01,
    "gap_error": 0.001,
    "help": 0.005,
    "help_error": 0.001,
}
QUARTERS = {f"{name}/q{n}": value for name, value in SCORES.items() for n in range(1, 5)}


@pytest.mark.parametrize(
    ("change", "used", "words"),
    [
        ({}, True, "a wrong picture costs 20.0% more than the right one (gap 0.0100 +- 0.0010): the picture is used"),
        ({"gap/q1": 0.0, "gap/q2": 0.001}, True, "but this shows only with much noise and the most noise"),
        (
            {"gap": 0.0001, "gap_error": 0.0002, "help": 0},
            False,
            "(gap 0.0001 +- 0.0002): the picture is not being used;",
        ),
        (
            {"gap": 0.00001, "gap_error": 0.000001},
            False,
            "but with any picture: it learned what all clips have in common",
        ),
        ({"gap": -0.01}, False, "the right picture gives a higher loss than a wrong one"),
        ({"gap": math.nan, "gap_error": math.nan}, False, "the picture is not being used"),
    ],
)
def test_verdicts_say_what_the_numbers_say(change, used, words):
    found = verdict({**SCORES, **QUARTERS, **change})
    assert found.used is used
    assert words in found.words


def test_a_run_without_a_picture_has_no_verdict():
    assert verdict({"none": 0.1}) is None


def test_unused_validations_are_counted_since_the_last_that_was_not():
    used, unused = {**SCORES, **QUARTERS}, {**SCORES, **QUARTERS, "gap": 0.0}
    assert unused_in_a_row([]) == 0
    assert unused_in_a_row([unused, used]) == 0
    assert unused_in_a_row([unused, used, unused, unused]) == 2
