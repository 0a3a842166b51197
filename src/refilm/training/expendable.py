"""What a run can do without: where a log or a film cannot be written, the run says so once and goes on.

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
        """An error of the system within the context is told, the first time, and goes no further."""
        try:
            yield
        except OSError as error:
            if what not in self.missed:
                self.missed.add(what)
                where = f"{error.filename}: " if error.filename else ""
                logger.warning("%s%s; the run goes on without %s", where, error.strerror or error, what)
