"""Position encodings: a fixed table added to the video tokens (CogVideoX-2B), or rotated queries and keys (5B, 1.5).

Letters: N video tokens in (time, height, width) order, D channels.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.positions import PlacedTables, spread
from refilm.geometry import Grid


def _sinusoids(positions: Tensor, width: int) -> Tensor:
    """(N,) float32 -> (N, width) float64, sines first."""
    frequencies = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64, device=positions.device) / (width / 2))
    angles = positions.double()[:, None] * frequencies  # bit-exact: the original has positions in float32
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # the cached result does not depend on the first caller: it can be used in training
def sincos_table(grid: Grid, width: int, spatial_interpolation: float, temporal_interpolation: float) -> Tensor:
    """CogVideoX's table, (N, D) float32: a quarter of the channels encode time, then 3/8 each column and row."""
    t, h, w = (torch.arange(n, dtype=torch.float32, device="cpu") for n in grid)
    frames = _sinusoids(t / temporal_interpolation, width // 4)
    rows, columns = (_sinusoids(axis / spatial_interpolation, width // 8 * 3) for axis in (h, w))
    frames, rows, columns = spread(grid, frames.float(), rows.float(), columns.float())
    return torch.cat([frames, columns, rows], dim=-1)


class SincosPosition(nn.Module):
    """Adds the fixed table to the video tokens; text tokens are unchanged."""

    def __init__(self, size: TransformerSize):
        super().__init__()
        self.size = size
        self._placed = PlacedTables()

    def forward(self, video: Tensor, grid: Grid) -> Tensor:
        (table,) = self._placed(grid, self._tables, device=video.device, dtype=video.dtype)
        return video + table

    def _tables(self, grid: Grid) -> tuple[Tensor]:
        size = self.size
        return (sincos_table(grid, size.width, size.spatial_interpolation, size.temporal_interpolation),)

    def rotary(self, grid: Grid, like: Tensor) -> None:
        """This encoding has no rotations."""


class RotaryPosition(nn.Module):
    """Rotates queries and keys along three axes and leaves the tokens unchanged (Su et al. 2021; CogVideoX-5B)."""

    def __init__(self, size: TransformerSize):
        super().__init__()
        self.size = size
        self._placed = PlacedTables()

    def forward(self, video: Tensor, grid: Grid) -> Tensor:
        return video

    def rotary(self, grid: Grid, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for a grid, (N, head_dim) float32 each, on the device of `like`."""
        cos, sin = self._placed(grid, self._tables, device=like.device, dtype=torch.float32)
        return cos, sin

    def _tables(self, grid: Grid) -> tuple[Tensor, Tensor]:
        size = self.size
        base = None if size.patch_time > 1 else (size.base_height // size.patch, size.base_width // size.patch)
        return rotary_angles(grid, size.head_dim, base)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def rotary_angles(grid: Grid, head_dim: int, base: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """Cosines and sines: a quarter of the channels encode time, 3/8 the row, 3/8 the column.

    A grid other than the base grid (rows, columns) is mapped to the largest centered region of the base grid with the
    same aspect ratio, so that positions stay in the range of training. Without a base grid, as in CogVideoX 1.5, every
    axis counts its tokens from 0.
    """
    if base is None:
        frames, rows, columns = (torch.arange(n, dtype=torch.float32, device="cpu") for n in grid)
    else:
        frames, (rows, columns) = _along(0, grid.frames, grid.frames), _centered(grid, base)
    widths = (head_dim // 4, head_dim // 8 * 3, head_dim // 8 * 3)
    turns = [_turns(axis, width) for axis, width in zip((frames, rows, columns), widths, strict=True)]
    angles = torch.cat(spread(grid, *turns), dim=-1)
    return angles.cos(), angles.sin()


def _centered(grid: Grid, base: tuple[int, int]) -> tuple[Tensor, Tensor]:
    rows, columns = base
    if grid.height / grid.width > rows / columns:
        height, width = rows, round(rows / grid.height * grid.width)
    else:
        height, width = round(columns / grid.width * grid.height), columns
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    return _along(top, top + height, grid.height), _along(left, left + width, grid.width)


def _along(start: int, stop: int, count: int) -> Tensor:
    """As in diffusers: with start > 0 the steps are slightly shorter than (stop - start) / count."""
    return torch.linspace(start, stop * (count - 1) / count, count, dtype=torch.float32, device="cpu")


def _turns(positions: Tensor, width: int) -> Tensor:
    """(N,) -> (N, width): each frequency twice, once for each channel of a pair."""
    steps = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device)
    frequencies = 1.0 / (10000.0 ** (steps / width))
    return torch.outer(positions, frequencies).repeat_interleave(2, dim=-1)
