"""A transformer in diffusers' layout: `config.json` and safetensors files, whatever its family.

Tensors are copied bit-exactly; only their grouping differs. Uses the file layout, not the diffusers package.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor

from refilm.errors import UserError
from refilm.files import atomic_folder, write_json
from refilm.geometry import Geometry
from refilm.model import Backbone
from refilm.weights.files import weight_files
from refilm.weights.fingerprints import base_weights
from refilm.weights.tensors import Layout, Piece, TensorFiles, fill, is_finite, saving, unfilled

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model"

Size = TypeVar("Size", bound=Geometry)
Model = TypeVar("Model", bound=Backbone)


def weights_in(folder: Path) -> TensorFiles:
    """The weights of a transformer's folder.

    Raises:
        UserError: a file is missing or damaged; names it.
    """
    return TensorFiles(weight_files(folder, WEIGHTS))


def size_beside(path: Path, size: Size | None, size_of: Callable[[Path], Size]) -> Size:
    """The sizes for a single weights file: as given, or read from a `config.json` in the same folder.

    Raises:
        UserError: the sizes are unknown.
    """
    config = path.with_name(CONFIG)
    if size is None and not config.is_file():
        raise UserError(f"{path}: its sizes are unknown; put its config.json next to it, or pass size")
    return size or size_of(config)


def filled(
    create: Callable[[Size], Model],
    size: Size,
    files: TensorFiles,
    layout: Callable[[int], Layout],
    *,
    dtype: torch.dtype | None,
    device: torch.device | str,
    exact: Callable[[str], torch.dtype | None] = lambda name: None,
) -> Model:
    """A transformer with the weights of the files.

    Args:
        create: makes a transformer of a size.
        size: the size.
        files: its weights.
        layout: the layout of a number of layers.
        dtype: dtype of the weights in memory. None: as stored.
        device: device of the weights.
        exact: the dtype of a weight by name where it differs from `dtype`, which only counts if `dtype` is given.

    Raises:
        UserError: a key, shape or dtype is wrong, or a value is not finite; names the file and the key.
    """
    files.require_layers(size.layers)
    with unfilled():
        transformer = create(size)
    pieces = layout(size.layers)
    kept = {name: kind for name in pieces if dtype is not None and (kind := exact(name)) is not None}
    fill(transformer, files, pieces, dtype=dtype, device=device, exact=kept)
    return transformer


def with_kinds(modules: Mapping[str, Sequence[Piece]], kinds: Sequence[str] = ("weight", "bias")) -> Layout:
    """The layout of weights, from that of modules that have these kinds of weights."""
    return {
        f"{ours}.{kind}": tuple(piece._replace(key=f"{piece.key}.{kind}") for piece in pieces)
        for ours, pieces in modules.items()
        for kind in kinds
    }


def write_transformer(
    transformer: Backbone,
    folder: Path,
    *,
    layout: Layout,
    config: Mapping[str, Any],
    dtype: torch.dtype | None,
    max_shard_size: str,
) -> None:
    """Write a transformer atomically.

    Raises:
        UserError: a weight is not finite, or out of the range of `dtype`; names it.
    """
    theirs = _grouped(base_weights(transformer), layout, folder, dtype)
    with atomic_folder(folder, CONFIG, f"{WEIGHTS}*") as temporary:
        write_json(temporary / CONFIG, dict(config))
        with saving(folder):
            save_torch_state_dict(
                theirs,
                temporary,
                filename_pattern=f"{WEIGHTS}{{suffix}}.safetensors",
                max_shard_size=max_shard_size,
            )


def _grouped(
    weights: Mapping[str, Tensor], layout: Layout, folder: Path, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """The weights by their names in files."""
    theirs: dict[str, list[Tensor]] = {}
    for name, pieces in layout.items():
        stored = weights[name].to("cpu", dtype)
        if not is_finite(stored):
            raise UserError(f"{folder}: {name} contains NaN, infinity or values beyond {stored.dtype}; nothing saved")
        for piece, rows in zip(pieces, stored.chunk(len(pieces)), strict=True):
            theirs.setdefault(piece.key, [rows] * piece.parts)[piece.part] = rows
    return {key: torch.cat(rows) if _is_part(rows[0]) else rows[0] for key, rows in theirs.items()}


def _is_part(rows: Tensor) -> bool:
    return rows.untyped_storage().nbytes() != rows.nbytes
