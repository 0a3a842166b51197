"""What a client can do, step by step, for scripts that run in a Python without refilm: only the standard library."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

PATIENCE = 300.0  # seconds for a video
ENDED = ("completed", "failed")


class Steps:
    """Records which steps work.

    Args:
        package: the client's package.
    """

    def __init__(self, package: str):
        self.facts = {"version": version(package)}
        self.steps: dict[str, str] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step; the next ones are tried even if it fails."""
        try:
            yield
        except Exception as error:  # of any client
            self.steps[name] = f"{type(error).__name__}: {error}"[:500]
        else:
            self.steps[name] = "ok"

    def print(self) -> None:
        """Print the result as JSON."""
        print(json.dumps({**self.facts, "steps": self.steps}))


def polled(status: Callable[[], str]) -> str:
    """Ask for a status until a video has ended."""
    end = time.monotonic() + PATIENCE
    while (found := status()) not in ENDED and time.monotonic() < end:
        time.sleep(0.3)
    return found
