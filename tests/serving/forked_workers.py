"""A process that has the pocket model in memory and forks a worker on each order; so a worker starts in no time.

    python forked_workers.py

Reads the settings of a worker per line, as JSON; with "faults", decoding fails with each of
them in turn. Prints
"ready", and for each worker "started PID". Workers that ended remain as zombies until this process ends.
"""

import json
import os
import signal
import sys

import refilm
from refilm.generation import Pipeline
from refilm.serving import leases, worker


def main() -> None:
    pipeline = refilm.load()
    worker.IDLE = worker.WATCH = 0.02
    worker.DISK_PAUSE = 0.2
    report("ready")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.alarm(300)  # no test takes that long
            make(pipeline, json.loads(line))
            os._exit(0)
        report(f"started {pid}")


def make(pipeline: Pipeline, values: dict) -> None:
    break_decoding(values.pop("faults", []))
    leases.MOST_DEATHS = values.pop("most_deaths", leases.MOST_DEATHS)
    worker.WorkerSettings.load = lambda self: pipeline
    worker.run(worker.WorkerSettings.from_values(values))


def break_decoding(faults: list[str]) -> None:
    """Make decoding fail, each time with the next fault, until there is none left."""
    errors = {"bug": RuntimeError("a bug"), "memory": MemoryError(), "disk": OSError(28, "full")}
    real = Pipeline.decode

    def decode(self, latents):
        if faults:
            raise errors[faults.pop(0)]
        return real(self, latents)

    Pipeline.decode = decode


def report(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
