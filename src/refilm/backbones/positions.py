"""Embeddings of timesteps and of places in a grid, which families share.

Letters: N video tokens in (time, height, width) order, D channels.
"""

import math
from collections.abc import Callable

import torch
from einops import repeat
from torch import Tensor

from refilm.geometry import Grid

MOST_TABLES = 4  # training on clips of several sizes alternates between grids


class PlacedTables:
    """The position tables of the last grids, on the device and in the dtype where a model uses them: they are copied
    there once, and not in every forward.
    """

    def __init__(self) -> None:
        self._tables: dict[tuple[Grid, torch.device, torch.dtype], tuple[Tensor, ...]] = {}

    def __call__(
        self, grid: Grid, compute: Callable[[Grid], tuple[Tensor, ...]], *, device: torch.device, dtype: torch.dtype
    ) -> tuple[Tensor, ...]:
        """The tables that `compute` returns for the grid."""
        key = grid, device, dtype
        tables = self._tables.pop(key, None)
        if tables is None:
            with torch.inference_mode(False):  # they can be used in training
                tables = tuple(table.to(device, dtype) for table in compute(grid))
        if all(type(table) is Tensor for table in tables):  # fake ones have no content
            self._tables[key] = tables
        if len(self._tables) > MOST_TABLES:
            del self._tables[next(iter(self._tables))]
        return tables


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of timesteps, cosines first: (B,) -> (B, width), float32.

    Frequencies fall from 1 to 1/10000 (Vaswani et al. 2017, section 3.5).
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    # this order of operations keeps the result bit-exact
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10000) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def spread(grid: Grid, frames: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Repeat per-axis values for every token: (T, D1), (H, D2), (W, D3) -> (N, D1), (N, D2), (N, D3)."""
    return (
        repeat(frames, "t d -> (t h w) d", h=grid.height, w=grid.width),
        repeat(rows, "h d -> (t h w) d", t=grid.frames, w=grid.width),
        repeat(columns, "w d -> (t h w) d", t=grid.frames, h=grid.height),
    )


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate adjacent channel pairs of the last N tokens of x (B, H, L, D); the text tokens before are unchanged."""
    text, video = x[:, :, : -cos.shape[0]], x[:, :, -cos.shape[0] :].float()
    even, odd = video.unflatten(-1, (-1, 2)).unbind(-1)
    crossed = torch.stack([-odd, even], dim=-1).flatten(-2)
    return torch.cat([text, (video * cos + crossed * sin).to(x.dtype)], dim=2)
