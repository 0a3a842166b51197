"""Optional outputs of a run: if a log or a video cannot be written, the run warns once and continues.

Checkpoints are not optional.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class Expendable:
    """Warns once about each kind of output that could not be written."""

    def __init__(self) -> None:
        self.missed: set[str] = set()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """An error within the context becomes a warning, the first time only: a tracker without a network, for example,
        must not end a run.
        """
        try:
            yield
        except Exception as error:
            if what not in self.missed:
                self.missed.add(what)
                logger.warning("%s; the run continues without %s", _message(error), what)


def _message(error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
