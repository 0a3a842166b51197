"""How far encoding has come, in words: what is encoded, how many of it, and how long the rest takes."""

import time
from typing import TYPE_CHECKING

from refilm.cli.showing import clock

if TYPE_CHECKING:
    from refilm.data.encoding import EncodeProgress


class EncodingPace:
    """Puts progress into words; the time that is left follows from the pace of this kind of encodings so far."""

    def __init__(self) -> None:
        self.what, self.since, self.first = "", 0.0, 0

    def take(self, progress: "EncodeProgress") -> str:
        """For instance: encoding clips: 120 of 400, 3 min 20 s left."""
        if progress.what != self.what:
            self.what, self.since, self.first = progress.what, time.monotonic(), progress.done
        line = f"encoding {progress.what}: {progress.done} of {progress.total}"
        made, rest = progress.done - self.first, progress.total - progress.done
        if not made or not rest:
            return line
        return f"{line}, {clock((time.monotonic() - self.since) / made * rest)} left"
