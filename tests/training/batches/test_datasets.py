"""Which clips a recipe's data are."""

import pytest
import torch

from refilm.checkpoints import load_base
from refilm.data import critters
from refilm.training.batches.datasets import DataSets
from refilm.training.settings import DataSettings


@pytest.mark.parametrize(
    ("hold_out", "train", "held_out"),
    [("subjects", "train", "held_out"), ("combinations", "train_combinations", "held_out_combinations")],
)
def test_critters_have_class_captions_and_the_chosen_split(tiny_base, tmp_path, hold_out, train, held_out):
    base = load_base(tiny_base, device="cpu", dtype="float32")
    settings = DataSettings(cache=tmp_path, clips=5, held_out_clips=5, seed=3, classes=True, hold_out=hold_out)
    data = DataSets(settings)
    list(data.prepare(base.encoders, base.defaults, tokens=base.size.text_length))
    for clips, split, seed in zip(data.encoded(base.size), (train, held_out), (3, 4), strict=True):
        for index in range(5):
            story = critters.story(seed, index, split)
            wanted = base.encoders.text([story.caption, story.appearance_caption, story.class_caption])
            assert torch.allclose(clips[index].text.float(), wanted.float(), atol=2e-3)  # kept in half


def test_a_fraction_of_critters_shows_two_subjects_with_masks(tiny_base, tmp_path):
    base = load_base(tiny_base, device="cpu", dtype="float32")
    data = DataSets(DataSettings(cache=tmp_path, clips=4, held_out_clips=2, seed=3, double_fraction=0.5))
    list(data.prepare(base.encoders, base.defaults, tokens=base.size.text_length))
    train, held_out = data.encoded(base.size)
    assert train.firsts.tolist() == [0, 1, 2, 2, 4, 4]
    assert held_out.firsts.tolist() == [0, 1, 1]
    assert [clip.mask is None for clip in train] == [True, True, False, False, False, False]
    double = critters.double_story(3, 1, "train")
    assert [entry.subject for entry in train.entries][4:] == [one.appearance for one in double.subjects]
