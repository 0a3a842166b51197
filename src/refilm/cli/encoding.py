"""Encoding progress as text: what is being encoded, how many are done, and the estimated time left."""

import time
from typing import TYPE_CHECKING

from refilm.cli.console import clock

if TYPE_CHECKING:
    from refilm.data.encoding import EncodeProgress


class EncodingPace:
    """Formats encoding progress; the time left is estimated from the pace so far for the same kind of encodings."""

    def __init__(self) -> None:
        self.what, self.since, self.first = "", 0.0, 0

    def take(self, progress: "EncodeProgress") -> str:
        """The progress line, for instance: encoding clips: 120 of 400, 3 min 20 s left."""
        if progress.what != self.what:
            self.what, self.since, self.first = progress.what, time.monotonic(), progress.done
        line = f"encoding {progress.what}: {progress.done} of {progress.total}"
        made, rest = progress.done - self.first, progress.total - progress.done
        if not made or not rest:
            return line
        return f"{line}, {clock((time.monotonic() - self.since) / made * rest)} left"
