"""Real processes that make the rows of lists, for tests that start, stop and kill them at any moment."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path


class Processes:
    """Processes forked from one that has a base model in memory, see `forked_batches.py`."""

    def __init__(self, base: Path):
        self.started, self.ended = set[int](), set[int]()
        self.server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forked_batches.py"), base],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # threads do not survive a fork
        )
        assert self._read() == ["ready"]

    def start(self, jobs: Path, out: Path, *, claim: bool = True, stale_after: float = 600.0) -> int:
        """Start a process; returns its id."""
        order = {"jobs": str(jobs), "out": str(out), "log": f"{out}.log", "claim": claim, "stale_after": stale_after}
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        while (words := self._read())[0] != "started":
            pass
        return int(words[1])

    def kill(self, pid: int) -> None:
        """Kill a process. It remains as a zombie."""
        os.kill(pid, signal.SIGKILL)
        self.ended.add(pid)

    def wait(self) -> None:
        """Wait until all processes that were not killed have ended."""
        while self.started - self.ended:
            self._read()

    def close(self) -> None:
        for pid in self.started - self.ended:
            os.kill(pid, signal.SIGKILL)
        self.server.kill()
        self.server.communicate()

    def _read(self) -> list[str]:
        words = self.server.stdout.readline().split()
        assert words, "the process that forks has ended"
        if len(words) == 2:
            {"started": self.started, "ended": self.ended}[words[0]].add(int(words[1]))
        return words
