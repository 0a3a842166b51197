"""Validation of prompts and references that are passed as embeddings."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from refilm.errors import UserError


def require_embeddings(name: str, given: Sequence[Any] | Tensor, *, width: int | None) -> None:
    """Reject a tensor that is not (B, L, width), such as a batch of images. Values of other types pass.

    Raises:
        UserError: the tensor has another shape; names it.
    """
    if isinstance(given, Tensor) and (given.ndim != 3 or width not in (None, given.shape[2])):
        raise UserError(f"{name}: a tensor must be embeddings (B, L, {width or 'D'}), received {tuple(given.shape)}")
