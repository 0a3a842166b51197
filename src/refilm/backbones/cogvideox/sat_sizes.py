"""Inference of model sizes from a SAT checkpoint, whose files contain only weights.

Most sizes follow from shapes. The rest follows from the position table of a 2B-like model: the number of text tokens,
the grid, and the interpolation factors.
"""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from refilm.backbones.cogvideox.position import sincos_table
from refilm.backbones.cogvideox.sizes import TransformerSize, cogvideox_2b, cogvideox_5b
from refilm.errors import UserError
from refilm.geometry import Grid
from refilm.weights.configs import validated
from refilm.weights.tensors import DTYPES, TensorFiles, is_finite

logger = logging.getLogger("refilm")

TABLE = "mixins.pos_embed.pos_embedding"
ROTATIONS = ("mixins.pos_embed.freqs_sin", "mixins.pos_embed.freqs_cos")
HEAD_NORM_EPS = 1e-6
_SUPPORTED = "in SAT layout refilm supports the text-to-video models CogVideoX-2B and 5B"


class SatSizes(NamedTuple):
    """The sizes of the model in a file."""

    size: TransformerSize
    latent_frames: int | None
    """Latent frames of its training videos. None: unknown."""
    table: Tensor | None
    """Position table of the video tokens (tokens, D), if it is not the table that CogVideoX computes."""


def read_sizes(files: TensorFiles, prefix: str, given: TransformerSize | None) -> SatSizes:
    """Read the sizes of a transformer, and its position table if it is a custom one.

    Args:
        files: the weights.
        prefix: prefix of their keys.
        given: the sizes, if known; the table is still read from the file.

    Raises:
        UserError: a required weight is missing, or refilm does not support the model; names the file.
    """
    refuse_others(files, prefix)
    table = files.tensor(prefix + TABLE) if prefix + TABLE in files else None
    size = _by_shapes(files, prefix, has_table=table is not None) if given is None else given
    size = replace(size, head_norm_eps=HEAD_NORM_EPS)
    if size.position == "rotary" or table is None:
        return SatSizes(size, None, None)
    if table.ndim != 3 or table.shape[0] != 1 or table.shape[2] != size.width or table.dtype not in DTYPES.values():
        raise UserError(f"{files.name}: {prefix + TABLE} has shape {tuple(table.shape)}, not (1, ..., {size.width})")
    if not is_finite(table):
        raise UserError(f"{files.name}: {prefix + TABLE} contains NaN or infinity")
    geometry = geometry_of(table[0])
    if geometry is None:
        text = size.text_length if given is not None else text_rows(table[0])
        if not 0 < text < table.shape[1] or table[0, :text].any():
            raise UserError(
                f"{files.name}: {prefix + TABLE} is not CogVideoX's table, which has zeros for the text's tokens"
            )
        return SatSizes(replace(size, text_length=text), None, table[0, text:])
    found = replace(
        size,
        text_length=geometry.text_length,
        base_height=geometry.grid.height * size.patch,
        base_width=geometry.grid.width * size.patch,
        spatial_interpolation=geometry.spatial or size.spatial_interpolation,
        temporal_interpolation=geometry.temporal or size.temporal_interpolation,
    )
    return SatSizes(found, geometry.grid.frames, None)


def refuse_others(files: TensorFiles, prefix: str) -> None:
    """Reject variants of CogVideoX that refilm does not support.

    Raises:
        UserError: the model is such a variant; names it.
    """
    patches = files.shape(f"{prefix}mixins.patch_embed.proj.weight")
    if len(patches) == 2 or any(key.startswith(f"{prefix}ofs_embed.") for key in files):
        raise UserError(
            f"{files.name}: is CogVideoX 1.5, whose patches span frames; {_SUPPORTED}; use its folder in diffusers' "
            "layout"
        )
    if len(patches) != 4 or patches[2] != patches[3] or 0 in patches:
        raise UserError(f"{files.name}: {prefix}mixins.patch_embed.proj.weight has shape {patches}; {_SUPPORTED}")
    out = files.shape(f"{prefix}mixins.final_layer.linear.weight", 2)[0] // patches[2] ** 2
    if patches[1] != out:
        raise UserError(
            f"{files.name}: is an image-to-video CogVideoX, with {patches[1]} - {out} additional latent channels "
            f"for an image; {_SUPPORTED}"
        )


def _by_shapes(files: TensorFiles, prefix: str, *, has_table: bool) -> TransformerSize:
    width, channels, patch, _ = files.shape(f"{prefix}mixins.patch_embed.proj.weight", 4)
    (head_dim,) = files.shape(f"{prefix}mixins.adaln_layer.query_layernorm_list.0.weight", 1)
    if width % head_dim:
        raise UserError(f"{files.name}: {width} channels cannot be divided into heads of {head_dim}")
    found = {
        "layers": layers_in(files, f"{prefix}transformer.layers."),
        "heads": width // head_dim,
        "head_dim": head_dim,
        "channels": channels,
        "patch": patch,
        "text_dim": files.shape(f"{prefix}mixins.patch_embed.text_proj.weight", 2)[1],
        "time_dim": files.shape(f"{prefix}time_embed.0.weight", 2)[0],
    }
    size = validated(found, TransformerSize, Path(files.name))
    large = cogvideox_5b()
    if any(prefix + key in files for key in ROTATIONS) or (
        not has_table and (size.layers, size.width) == (large.layers, large.width)
    ):
        return replace(size, position="rotary")
    small = cogvideox_2b()
    if not has_table and (size.layers, size.width) != (small.layers, small.width):
        logger.warning(
            "%s: no position table and a custom size: assuming the position table of CogVideoX-2B; "
            "pass the size if the model uses rotary positions",
            files.name,
        )
    return size


def layers_in(keys: Sequence[str] | TensorFiles, prefix: str) -> int:
    """Number of distinct layer numbers after `prefix`. Counting them makes a huge number in a key harmless."""
    numbers = {key[len(prefix) :].partition(".")[0] for key in keys if key.startswith(prefix)}
    return sum(re.fullmatch(r"[0-9]+", number) is not None for number in numbers)


class Geometry(NamedTuple):
    """The parameters of a position table."""

    text_length: int
    grid: Grid
    spatial: float | None
    """Divisor of rows and columns. None: the grid has only one of each."""
    temporal: float | None
    """Divisor of frames. None: there is only one frame."""


def geometry_of(table: Tensor) -> Geometry | None:
    """The parameters of CogVideoX's position table (L, D) in any precision. None: it is another table."""
    text = text_rows(table)
    video, tokens, width = table[text:], len(table) - text, table.shape[1]
    if tokens == 0 or width % 8:
        return None
    time, column, row = video.split([width // 4, width // 8 * 3, width // 8 * 3], dim=1)
    frame = _first((time != time[0]).any(dim=1))
    columns = 1 + _first((column[1:frame] == column[0]).all(dim=1))
    if frame % columns or tokens % frame:
        return None
    grid = Grid(tokens // frame, frame // columns, columns)
    near = 1e-5 if table.dtype == torch.float32 else 0.02
    spatial = (column[1] if columns > 1 else row[columns]) if frame > 1 else None
    geometry = Geometry(text, grid, _divisor(spatial, near), _divisor(time[frame] if grid.frames > 1 else None, near))
    return geometry if _is_computed(video, geometry) else None


def text_rows(table: Tensor) -> int:
    """Number of zero rows at the start of a table."""
    return _first(table.any(dim=1))


def _first(true: Tensor) -> int:
    """The first true index, or the length."""
    return int(true.int().argmax()) if true.any() else len(true)


def _divisor(step: Tensor | None, near: float) -> float | None:
    """The divisor from the sinusoids of one step along an axis; the highest frequency advances by 1 / divisor.

    Snaps to the published divisors. Returns 0 if the phase decreases or does not change.
    """
    if step is None:
        return None
    angle = math.atan2(step[0].item(), step[len(step) // 2].item())
    if not angle > 0:
        return 0.0
    return next((usual for usual in (1.875, 1.0) if abs(1 / angle - usual) < near * usual), round(1 / angle, 4))


def _is_computed(video: Tensor, geometry: Geometry) -> bool:
    """Whether the computed table is the same; compared frame by frame, because the whole table is large."""
    if 0.0 in (geometry.spatial, geometry.temporal):
        return False
    frames, height, width = geometry.grid
    divisors = geometry.spatial or 1.0, geometry.temporal or 1.0
    places = sincos_table(Grid(1, height, width), video.shape[1], *divisors).clone()
    times = sincos_table(Grid(frames, 1, 1), video.shape[1], *divisors)
    near = max(1e-5, 2 * torch.finfo(video.dtype).eps)
    quarter = video.shape[1] // 4
    for time, frame in zip(times, video.split(height * width), strict=True):
        places[:, :quarter] = time[:quarter]
        if not torch.allclose(frame.float(), places, rtol=0, atol=near):
            return False
    return True


class StoredPosition(nn.Module):
    """A position table (tokens, D) from a file instead of the computed one; truncated for shorter videos."""

    table: Tensor

    def __init__(self, table: Tensor):
        super().__init__()
        self.register_buffer("table", table, persistent=False)

    def forward(self, video: Tensor, grid: Grid) -> Tensor:
        if grid.tokens > len(self.table):
            raise UserError(f"{grid.tokens} video tokens: this model's position table has {len(self.table)}")
        return video + self.table[: grid.tokens].to(video.dtype)

    def rotary(self, grid: Grid, like: Tensor) -> None:
        """This encoding has no rotations."""
