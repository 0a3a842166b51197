"""How new held-out critters are, counted by hand."""

from collections import Counter
from dataclasses import replace

import pytest

from refilm.data.critters import EYES, subjects
from refilm.pocket.novelty import novelty


def test_most_held_out_critters_have_a_twin_with_other_eyes():
    training = set(subjects("train"))
    for subject in subjects("held_out"):
        twins = [replace(subject, eyes=eyes) for eyes in EYES if eyes != subject.eyes]
        assert novelty(subject) == ("eyes" if training & set(twins) else "combination")
    assert Counter(map(novelty, subjects("held_out"))) == {"eyes": 626, "combination": 15}


def test_a_split_by_combinations_makes_them_all_new():
    new = {novelty(subject, "train_combinations") for subject in subjects("held_out_combinations")}
    assert new == {"combination"}
    assert {novelty(subject, "train_combinations") for subject in subjects("held_out")} == {"eyes", "combination"}


def test_what_training_shows_is_not_new():
    with pytest.raises(ValueError, match="this subject is in the split train; choose a held-out subject"):
        novelty(subjects("train")[0])
