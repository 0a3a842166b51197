"""Rotations of Wan's queries and keys along time, height and width (Su et al. 2021, arXiv:2104.09864).

Letters: N video tokens in (time, height, width) order.
"""

from functools import lru_cache

import torch
from torch import Tensor

from refilm.backbones.positions import spread
from refilm.geometry import Grid


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # the cached result does not depend on the first caller: it can be used in training
def rotary_angles(grid: Grid, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (N, head_dim) float32 each: a third of the channels encodes the row, a third the column, and
    the rest time.
    """
    side = head_dim // 6 * 2
    turns = map(_turns, grid, (head_dim - 2 * side, side, side))
    angles = torch.cat(spread(grid, *turns), dim=-1)
    return angles.cos().float(), angles.sin().float()


def _turns(count: int, width: int) -> Tensor:
    """(count, width) float64: each frequency twice, once for each channel of a pair."""
    steps = torch.arange(0, width, 2, dtype=torch.float64, device="cpu")
    positions = torch.arange(count, dtype=torch.float64, device="cpu")
    return torch.outer(positions, 10000.0 ** (-steps / width)).repeat_interleave(2, dim=-1)
