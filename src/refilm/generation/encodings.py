"""Encodings that several videos share, so that a series of videos encodes each prompt and each subject once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")
MOST = 256


class Encodings:
    """Remembers what encoders returned, the latest 256 results. Use one for a series of videos of one pipeline."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, object] = OrderedDict()

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result for a key, made if it is not known."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return self._kept[key]  # pyright: ignore[reportReturnType]
