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
