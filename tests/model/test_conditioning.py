"""A subset of the rows: per-row values are indexed, shared values are kept."""

import pytest
import torch

from refilm.geometry import Grid
from refilm.model import Conditioning, References, Row

ROTARY = (torch.ones(6, 4), torch.zeros(6, 4))
ROWS = (Row("unconditional", 0), Row("text only", 0), Row("conditional", 0))


def conditioning(**own) -> Conditioning:
    tokens = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 5, 2)
    references = References(tokens, scale=torch.tensor([[0.1], [0.2], [0.3]]))
    return Conditioning(torch.arange(3.0)[:, None], 7, Grid(1, 2, 3), ROWS, ROTARY, **{"references": references, **own})


@pytest.mark.parametrize("which", [torch.tensor([False, True, True]), torch.tensor([1, 2])])
def test_each_row_keeps_its_own(which):
    some = conditioning().select(which)
    assert some.time.flatten().tolist() == [1, 2]
    assert some.rows == ROWS[1:]
    assert some.references.tokens[:, 0, 0, 0].tolist() == [1, 2]
    assert some.references.scale.flatten().tolist() == pytest.approx([0.2, 0.3])
    assert (some.text_length, some.grid, some.rotary) == (7, Grid(1, 2, 3), ROTARY)


def test_rows_may_be_reordered_and_what_all_have_stays():
    some = conditioning(references=None).select(torch.tensor([2, 0]))
    assert some.time.flatten().tolist() == [2, 0]
    assert some.rows == (ROWS[2], ROWS[0])
    assert some.references is None


def test_only_a_scale_per_block_changes_from_block_to_block():
    plain = conditioning()
    assert plain.in_block(1) is plain
    scaled = conditioning(references=References(torch.ones(3, 1, 5, 2), scale=torch.tensor([0.1, 0.2]).view(2, 1, 1)))
    assert scaled.in_block(1).references.scale.flatten().tolist() == pytest.approx([0.2])
