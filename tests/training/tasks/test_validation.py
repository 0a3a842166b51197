"""Validation scores and reference usage, on the tiny base model and on the pocket model."""

import math
import re

import pytest
import torch

from refilm.data.encoding import EncodedSet
from refilm.model import Block
from refilm.training.batches.validation_set import chosen_clips, others
from refilm.training.settings import DropSettings
from refilm.training.tasks.reference_usage import unused_in_a_row, usage_of

from ..encoded import encoded, task_on


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


def test_scores_match_their_names(clips, tiny_base):
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


def test_a_layer_that_adds_twice_its_tokens_has_a_ratio_of_two(clips, tiny_base):
    class Doubling(torch.nn.Module):
        def forward(self, video, references):
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


def test_with_one_subject_alone_there_is_no_wrong_image(clips, tiny_base, monkeypatch):
    monkeypatch.setattr("refilm.training.batches.validation_set.subject_of", lambda entry: "fox")
    task = task_on(clips, tiny_base)
    scores = task.validate()
    assert "wrong" not in scores
    found = task.reference_usage(scores)
    assert found.outcome == "unused"
    assert "all validation clips show one subject" in found.words


def test_a_fresh_adapter_is_found_not_to_use_the_image(clips, tiny_base):
    task = task_on(clips, tiny_base)
    scores = task.validate()
    found = task.reference_usage(scores)
    assert found.outcome == "unused"
    assert found.words.startswith(
        "the right and a wrong reference give the same loss (gap 0.0000 +- 0.0000): the reference is not used; "
    )
    assert {scores[name] for name in scores if name.startswith("share/")} == {0.0}


def test_the_pocket_adapter_is_found_to_use_the_image(pocket_clips):
    task = task_on(pocket_clips, "pocket", "own")
    scores = task.validate()
    found = task.reference_usage(scores)
    assert found.used
    assert "the reference is used" in found.words
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
    ("change", "outcome", "words"),
    [
        ({}, "used", "a wrong reference increases the loss by 20.0% (gap 0.0100 +- 0.0010): the reference is used"),
        ({"gap/q1": 0.0, "gap/q2": 0.001}, "used", "but only with much noise and the most noise"),
        (
            {"gap": 0.00001, "gap_error": 0.00001, "help": 0},
            "unused",
            "the right and a wrong reference give the same loss (gap 0.0000 +- 0.0000): the reference is not used; ",
        ),
        (
            {"gap": 0.00001, "gap_error": 0.000001},
            "unused",
            "but with any reference: it learned what all clips have in common",
        ),
        ({"gap": -0.01}, "unused", "the right reference gives a higher loss than a wrong one"),
        ({"gap": math.nan, "gap_error": math.nan}, "undecided", "the losses are not finite"),
        (
            {"gap": 0.0001, "gap_error": 0.0002},
            "undecided",
            "undecided whether a wrong reference increases the loss (gap 0.0001 +- 0.0002): 64 samples are too few, "
            "about 2,400 are needed (diffusion.validation.samples",
        ),
    ],
)
def test_usage_matches_the_numbers(change, outcome, words):
    found = usage_of({**SCORES, **QUARTERS, **change}, samples=64)
    assert (found.outcome, found.used) == (outcome, outcome == "used")
    assert words in found.words


RELEVANT = 0.001 * SCORES["right"]  # a thousandth of the loss


@pytest.mark.parametrize("name", ["gap", "help"])
@pytest.mark.parametrize(
    ("size", "error", "outcome"),
    [  # of three standard errors, not of two or four
        (3.01e-3, 1e-3, "used"),
        (2.99e-3, 1e-3, "undecided"),
        (-3.01e-3, 1e-3, "unused"),  # it misleads
        (-2.99e-3, 1e-3, "unused"),  # nothing that matters lies above it
        (0.0, RELEVANT / 3.01, "unused"),
        (0.0, RELEVANT / 2.99, "undecided"),
        (0.99 * RELEVANT, 0.0, "unused"),  # certain, but it does not matter
        (1.01 * RELEVANT, 0.0, "used"),
        (0.5 * RELEVANT, RELEVANT / 5.9, "undecided"),
        (0.5 * RELEVANT, RELEVANT / 6.1, "unused"),
    ],
)
def test_an_outcome_needs_three_standard_errors(name, size, error, outcome):
    scores = {**SCORES, **QUARTERS, name: size, f"{name}_error": error}
    if name == "help":
        scores = {key: value for key, value in scores.items() if not key.startswith(("gap", "wrong"))}
    assert usage_of(scores, samples=64).outcome == outcome
    assert unused_in_a_row([scores]) == (outcome == "unused")


@pytest.mark.parametrize(("size", "error"), [(2.9e-3, 1e-3), (0.0, RELEVANT / 2), (1e-5, 4e-5), (0.0, 5e-4)])
def test_the_estimated_number_of_samples_decides(size, error):
    scores = {**SCORES, **QUARTERS, "gap": size, "gap_error": error}
    words = usage_of(scores, samples=64).words
    wanted = int(re.search(r"about ([\d,]+) are needed", words)[1].replace(",", ""))
    assert 64 < wanted < 1_000_000
    more = scores | {"gap_error": error * math.sqrt(64 / wanted)}
    assert usage_of(more, samples=wanted).outcome != "undecided"
    fewer = scores | {"gap_error": error * math.sqrt(64 / (0.85 * wanted))}
    assert usage_of(fewer, samples=wanted).outcome == "undecided"


def test_an_undecidable_difference_is_reported_as_such():
    scores = {**SCORES, **QUARTERS, "gap": RELEVANT, "gap_error": RELEVANT}
    assert "64 samples are too few, and more than 1,000,000 are needed" not in usage_of(scores, samples=64).words
    assert "more than 1,000,000 are needed" in usage_of(scores, samples=64).words


def test_dropping_less_is_advised_only_where_something_is_dropped(clips, tiny_base):
    unused = {**SCORES, **QUARTERS, "gap": 0.0, "gap_error": 0.0}
    advice = "drop the reference less often"
    for drop, told in (
        (None, False),
        (DropSettings(text=0.5), False),
        (DropSettings(reference=0.1), True),
        (DropSettings(both=0.1), True),
    ):
        found = task_on(clips, tiny_base, drop=drop).reference_usage(unused)
        assert "train longer, raise the learning rate" in found.words
        assert (advice in found.words) is told


def test_a_run_without_an_adapter_has_no_reference_usage():
    assert usage_of({"none": 0.1}, samples=64) is None


def test_unused_validations_are_counted_since_the_last_that_was_not():
    used, unused = {**SCORES, **QUARTERS}, {**SCORES, **QUARTERS, "gap": 0.0, "gap_error": 0.0}
    undecided = {**unused, "gap_error": 1.0}
    assert unused_in_a_row([]) == 0
    assert unused_in_a_row([unused, used]) == 0
    assert unused_in_a_row([unused, used, unused, unused]) == 2
    assert unused_in_a_row([unused, undecided]) == 0
    assert unused_in_a_row([{"none": 0.1}]) == 0
