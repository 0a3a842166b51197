"""A process that has everything in memory and forks a training run on each order, for a test that kills many runs.

    python forked_runs.py RECIPE NAME=VALUE...

Reads one order per line as JSON: the run's `folder`, the `log` to which it appends "STEP LOSS", and `pause`, the system
call before which it waits during a save, as its name and number. Prints "forked PID", "step N", "paused", "weights
SHA256" and "ended CODE".
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from disk import Disk

from refilm.cli.train import changes_of
from refilm.recipes import read_recipe
from refilm.training.checkpoint.checkpoints import checkpoints
from refilm.training.engine.loop import fit


def main() -> None:
    recipe = read_recipe(Path(sys.argv[1]), changes_of(sys.argv[2:]))
    for _ in recipe.prepare():
        pass
    task = recipe.task()
    report("ready")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.alarm(300)  # no run takes that long
            run(task, recipe.loop, **json.loads(line))
            os._exit(0)
        report(f"forked {pid}")
        _, status = os.waitpid(pid, 0)
        report(f"ended {os.waitstatus_to_exitcode(status)}")


def run(task, settings, *, folder: str, log: str, pause: tuple[str, int] | None) -> None:
    def on_call(number: int, file: str | None) -> None:
        if pause and disk.calls[-1] == pause[0] and disk.calls.count(pause[0]) == pause[1]:
            report("paused")
            time.sleep(1000)

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    disk = Disk(pytest.MonkeyPatch(), on_call)
    for progress in fit(task, settings, Path(folder), resume=bool(checkpoints(Path(folder)))):
        os.write(descriptor, f"{progress.step} {progress.loss!r}\n".encode())
        report(f"step {progress.step}")
    weights = b"".join(tensor.numpy().tobytes() for tensor in task.module.state_dict().values())
    report(f"weights {hashlib.sha256(weights).hexdigest()}")


def report(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
