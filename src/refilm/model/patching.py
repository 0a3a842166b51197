"""Temporary replacement of module attributes, used for attention kernels, heat maps and experiments."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from refilm.errors import UserError


@contextmanager
def swapped(root: nn.Module, kind: type[nn.Module], **makers: Callable[[Any], Any]) -> Iterator[None]:
    """Context manager that replaces attributes of every `kind` below `root` and restores them on exit.

    Args:
        root: the module to search, itself included.
        kind: the class whose instances are changed.
        makers: attribute name -> a function from the current value to the new one.

    Raises:
        UserError: there is no such module below `root`, or it has no such attribute. Nothing is changed then.
    """
    found = [module for module in root.modules() if isinstance(module, kind)]
    if not found:
        raise UserError(f"no {kind.__name__} below {type(root).__name__}: nothing to swap")
    missing = [name for name in makers for module in found if not hasattr(module, name)]
    if missing:
        raise UserError(f"{kind.__name__} has no attribute {missing[0]!r}")
    before = [(module, name, getattr(module, name)) for module in found for name in makers]
    try:
        for module, name, value in before:
            setattr(module, name, makers[name](value))
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
