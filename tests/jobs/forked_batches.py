"""A process that has the model in memory and forks a process on each order, which makes rows of a list.

    python forked_batches.py BASE

Reads one order per line as JSON: the `jobs` file, the `out` folder, whether to `claim`, `stale_after`, and the `log` to
which a process appends "ROW STATUS PID" for each row that it ends. Prints "ready", and for each process "started PID"
and "ended PID". Processes that were killed are not waited for: they remain as zombies.
"""

import json
import os
import signal
import sys
from pathlib import Path

import refilm
from refilm.jobs import Batch, Claims, Record, Records, read_jobs
from refilm.jobs import batch as batches


def main() -> None:
    pipeline = refilm.load(sys.argv[1])
    batches.PAUSE = 0.02
    report("ready")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.alarm(120)  # no batch takes that long
            make(pipeline, **json.loads(line))
            report(f"ended {os.getpid()}")
            os._exit(0)
        report(f"started {pid}")


def make(pipeline: refilm.Pipeline, *, jobs: str, out: str, log: str, claim: bool, stale_after: float) -> None:
    listed, records = read_jobs(jobs), Records(Path(out), {})
    claims = Claims(records.folder, stale_after=stale_after) if claim else None
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for event in Batch(listed, records, lambda: pipeline, claims=claims).run():
        if isinstance(event, Record):
            os.write(descriptor, f"{event.number} {event.status} {os.getpid()}\n".encode())
    records.write_report(listed)


def report(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
