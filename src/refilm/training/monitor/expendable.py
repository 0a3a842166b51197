"""What a run can do without: where a log or a video cannot be written, the run says so once and goes on.

A checkpoint is not of this kind.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class Expendable:
    """Tells once of each thing that could not be written."""

    def __init__(self) -> None:
        self.missed: set[str] = set()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """An error within the context is told, the first time, and goes no further: whatever a tracker makes of a lost
        network is no reason to end a run.
        """
        try:
            yield
        except Exception as error:
            if what not in self.missed:
                self.missed.add(what)
                logger.warning("%s; the run goes on without %s", _told(error), what)


def _told(error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
