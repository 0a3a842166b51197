"""Prompts and references may come encoded already; what is no encoding is refused."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def require_embeddings(name: str, given: Sequence[Any] | Tensor, *, width: int | None) -> None:
    """Refuse a tensor that cannot be (B, L, width): a batch of images, say. All that is no tensor passes.

    Raises:
        ValueError: another shape; says which.
    """
    if isinstance(given, Tensor) and (given.ndim != 3 or width not in (None, given.shape[2])):
        raise ValueError(f"{name}: a tensor must be embeddings (B, L, {width or 'D'}), received {tuple(given.shape)}")
