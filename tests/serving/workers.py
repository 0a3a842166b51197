"""Real worker processes, for tests that start, stop and kill them at any moment."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refilm.serving import Store, VideoJob

REQUEST: dict[str, Any] = {"prompt": "a critter bounces", "steps": 5, "frames": 9, "size": "32x32", "seed": 3}
LONG = 120.0  # seconds, on a machine that does much else


class Workers:
    """Workers forked from a process that has the model, see `forked_workers.py`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forked_workers.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # threads do not survive a fork
        )
        self.pids: list[int] = []
        assert self._read() == "ready"

    def start(self, store: Store, **values: Any) -> int:
        """Start a worker that saves its state after every step; returns its process id."""
        settings = {"store": str(store.folder), "device": "cpu", "save_state_every": 0} | values
        self.process.stdin.write(json.dumps(settings) + "\n")
        self.process.stdin.flush()
        self.pids.append(int(self._read().removeprefix("started ")))
        return self.pids[-1]

    def kill(self) -> None:
        """Kill all workers."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)  # a zombie takes it too
        self.pids.clear()

    def close(self) -> None:
        """End the process that forks; it must have no workers."""
        self.process.kill()
        self.process.communicate()

    def _read(self) -> str:
        line = self.process.stdout.readline().strip()
        assert line, "the process that forks has ended"
        return line


def until(store: Store, job: VideoJob, condition: Callable[[VideoJob], bool]) -> VideoJob:
    """Wait until a job is as wanted."""
    end = time.monotonic() + LONG
    while not condition(found := store.get(job.id, deleted=True)):
        assert time.monotonic() < end, f"still {found}"
        time.sleep(0.005)
    return found


def ended(store: Store, job: VideoJob) -> VideoJob:
    """Wait until a job has ended."""
    return until(store, job, lambda found: found.is_final)


def results(store: Store, job: VideoJob) -> dict[str, bytes]:
    """The content of all result files of a completed job."""
    assert job.status == "completed", job
    found = {path.name: path.read_bytes() for path in store.files.results(job).iterdir()}
    assert {name: len(content) for name, content in found.items()} == job.files
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is as wanted."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
