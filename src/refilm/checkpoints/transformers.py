"""Loading and saving of a transformer of any family, in diffusers' layout."""

from pathlib import Path

import torch

from refilm.arguments import checked
from refilm.backbones import family_in, family_of
from refilm.model import Backbone


@checked
def load_transformer(
    folder: Path | str, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Backbone:
    """Load a transformer from a folder with `config.json` and safetensors weights, one file or several.

    Args:
        folder: the transformer's folder; in a pipeline's folder it is `transformer`.
        dtype: dtype of the weights in memory. Default: as stored.
        device: device of the weights.

    Raises:
        UserError: a file is missing or damaged, a key or shape does not match the config, or no family has such a
            model; names the file and the key.
    """
    folder = Path(folder)
    return family_in(folder).load_transformer(folder, dtype=dtype, device=device)


@checked
def save_transformer(
    transformer: Backbone,
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    frames: int = 49,
    max_shard_size: str = "10GB",
) -> None:
    """Write a transformer atomically, for diffusers and `load_transformer`.

    An attached adapter is not written. An existing transformer in the folder is replaced; other files are kept.

    Args:
        dtype: dtype of the weights in the file. Default: unchanged.
        frames: default number of video frames in diffusers' pipeline.
        max_shard_size: maximum size of a file; larger checkpoints are sharded.

    Raises:
        UserError: diffusers' layout does not support the transformer; or a weight is not finite, or out of the range
            of `dtype`.
    """
    family_of(transformer).save_transformer(
        transformer, Path(folder), dtype=dtype, frames=frames, max_shard_size=max_shard_size
    )
