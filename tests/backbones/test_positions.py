"""Position tables on the device of a model."""

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from refilm.backbones.positions import MOST_TABLES, PlacedTables
from refilm.geometry import Grid

META = {"device": torch.device("meta"), "dtype": torch.bfloat16}


def table(grid: Grid) -> tuple[Tensor]:
    return (torch.ones(grid.tokens),)


def test_tables_are_placed_once_and_the_oldest_are_dropped():
    placed, made = PlacedTables(), []

    def compute(grid: Grid) -> tuple[Tensor]:
        made.append(grid)
        return table(grid)

    grids = [Grid(1, 1, width) for width in range(1, MOST_TABLES + 2)]
    first = [placed(grids[0], compute, **META)[0] for _ in range(2)]
    assert first[0] is first[1]
    assert (first[0].device, first[0].dtype) == (META["device"], META["dtype"])
    for grid in [*grids, grids[0]]:
        placed(grid, compute, **META)
    assert made == [*grids, grids[0]]


def test_tables_made_in_inference_can_be_trained_with():
    placed, here = PlacedTables(), {"device": torch.device("cpu"), "dtype": torch.float64}
    with torch.inference_mode():
        placed(Grid(1, 1, 2), table, **here)
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (weight * placed(Grid(1, 1, 2), table, **here)[0]).sum().backward()
    assert weight.grad is not None


def test_fake_tables_are_not_kept():
    placed, here = PlacedTables(), {"device": torch.device("cpu"), "dtype": torch.float64}
    with FakeTensorMode(allow_non_fake_inputs=True):
        placed(Grid(1, 1, 2), table, **here)
    assert type(placed(Grid(1, 1, 2), table, **here)[0]) is Tensor
