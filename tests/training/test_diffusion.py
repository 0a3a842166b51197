import torch

from refilm.training.diffusion import DropSettings, drops


def test_drops_are_disjoint_and_have_their_shares():
    fates = (torch.arange(10_000) + 0.5) / 10_000
    text, reference = drops(fates, DropSettings(text=0.1, reference=0.2, both=0.05))
    assert ((text == 0) & (reference == 0)).sum() == 500
    assert ((text == 0) & (reference == 1)).sum() == 1000
    assert ((text == 1) & (reference == 0)).sum() == 2000


def test_nothing_is_dropped_at_share_zero():
    text, reference = drops(torch.linspace(0, 1 - 1e-6, 1000), DropSettings(text=0, reference=0, both=0))
    assert text.all()
    assert reference.all()
