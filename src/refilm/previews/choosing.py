"""Choosing the preview of a base model."""

from pathlib import Path
from typing import Protocol

import torch

from refilm.errors import UserError
from refilm.geometry import Compression, Geometry
from refilm.previews.linear import LinearPreview
from refilm.previews.preview import Preview
from refilm.previews.tiny import TinyDecoder
from refilm.weights.tensors import TensorFiles


class Previewed(Protocol):
    """What is needed of a base model, such as `refilm.checkpoints.Base`."""

    name: str
    size: Geometry
    compression: Compression
    device: torch.device
    dtype: torch.dtype

    @property
    def preview(self) -> LinearPreview | None:
        """The linear preview that is stored with it."""
        ...


def preview_of(base: Previewed, file: Path | None = None) -> Preview:
    """The preview of a base model.

    Args:
        base: the base model.
        file: a linear preview or a tiny decoder in TAEHV's layout. Default: the linear preview stored with the base
            model.

    Raises:
        UserError: the base model has none, or the file does not fit it; says how to fix it.
    """
    if file is None:
        if base.preview is None:
            raise UserError(
                f"{base.name}: has no preview.safetensors; fit one: refilm preview fit CLIPS --base {base.name}"
            )
        return base.preview
    about = {"channels": base.size.channels, "compression": base.compression}
    if "weight" in TensorFiles([file]):
        return LinearPreview.load(file, **about)
    return TinyDecoder.load(file, **about, device=base.device, dtype=base.dtype)
