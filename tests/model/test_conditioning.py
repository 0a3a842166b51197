"""A subset of the samples: per-sample values are indexed, shared values are kept."""

import pytest
import torch

from refilm.geometry import Grid
from refilm.model import Conditioning

ROTARY = (torch.ones(6, 4), torch.zeros(6, 4))


def conditioning(**own) -> Conditioning:
    time, reference = torch.arange(3.0)[:, None], torch.arange(3.0).view(3, 1, 1).expand(3, 5, 2)
    given = {"reference": reference, "reference_scale": torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)}
    return Conditioning(time, 7, Grid(1, 2, 3), ROTARY, **{**given, **own})


@pytest.mark.parametrize("which", [torch.tensor([False, True, True]), torch.tensor([1, 2])])
def test_each_row_keeps_its_own(which):
    some = conditioning().rows(which)
    assert some.time.flatten().tolist() == [1, 2]
    assert some.reference.shape == (2, 5, 2)
    assert some.reference[:, 0, 0].tolist() == [1, 2]
    assert some.reference_scale.flatten().tolist() == pytest.approx([0.2, 0.3])
    assert some.reference_scale.shape == (2, 1, 1)
    assert (some.text_length, some.grid, some.rotary) == (7, Grid(1, 2, 3), ROTARY)


def test_rows_may_be_reordered_and_what_all_have_stays():
    some = conditioning(reference=None, reference_scale=0.5).rows(torch.tensor([2, 0]))
    assert some.time.flatten().tolist() == [2, 0]
    assert (some.reference, some.reference_scale) == (None, 0.5)
