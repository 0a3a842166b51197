"""Whether `refilm serve` loses anything: many clients, while workers and the server are killed.

    python benchmarks/serve_load.py [--clients 64] [--jobs 500] [--kills 20] [--workers 2] [--compare 150]

The clients (`serving/clients.py`) ask for short videos by the pocket model; 30 % of the jobs are cancelled, and 5 %
lose connections. Meanwhile random workers, the server, or all of them at once are ended with SIGKILL, and the server
is started again on the same store. A trigger in the database records every change of a job's status. Afterwards the
store is compared with what the clients have seen (`serving/check.py`). Then a server with an empty store that
nothing disturbs makes some of the videos again: all that several workers have worked at, and others up to `--compare`;
the bytes are compared. Memory is read before the load, when each worker has made a video, and after it. Writes
benchmarks/results/serve_load.json, or `--out`.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, add_out, target, write
from serving.check import checked, resumed, watch
from serving.clients import FRAMES, SIZE, STEPS, key_of
from serving.process import ENVIRONMENT, ServerProcess

from refilm.files import write_json

RESULT = RESULTS / "serve_load.json"
CLIENTS = Path(__file__).parent / "serving" / "clients.py"
CANCELLED, DISCONNECTED = 0.3, 0.05  # of all jobs
DISTURBED = 0.85  # of the jobs have ended when the last process is killed
TICK = 0.2  # seconds
Facts = dict[str, Any]


class Killer:
    """Kills processes of a server, evenly over the jobs that end."""

    def __init__(self, server: ServerProcess, kills: int, jobs: int):
        self.server, self.chance = server, random.Random(0)
        places = [(number + self.chance.random()) / kills for number in range(kills)]
        self.due = [place * DISTURBED * jobs for place in places]
        self.done: Counter[str] = Counter()

    def look(self) -> None:
        """Kill something if so many jobs have ended that it is time."""
        counts = self.server.store.counts()
        if not self.due or counts["completed"] + counts["deleted"] < self.due[0]:
            return
        victim, workers = self.chance.choices(("worker", "server", "all"), (6, 3, 1))[0], self.server.workers()
        if not workers:
            return
        self.due.pop(0)
        self.done[victim] += 1
        if victim == "worker":
            return _kill(self.chance.choice(workers))
        self.server.kill()
        for worker in workers if victim == "all" else ():
            _kill(worker)
        time.sleep(self.chance.random())
        self.server.restart()


class Memory:
    """The memory of a server and its workers before and after the load, and its peak."""

    def __init__(self, server: ServerProcess):
        self.server = server
        self.start = self.end = server.megabytes()
        self.peak = {name: max(sizes) for name, sizes in self.start.items()}

    def look(self) -> None:
        """Read it."""
        self.end = self.server.megabytes()
        self.peak = {name: max([self.peak[name], *sizes]) for name, sizes in self.end.items()}

    def facts(self) -> Facts:
        return {"start": self.start, "end": self.end, "peak": self.peak}


def plan(jobs: int) -> list[Facts]:
    """The jobs with their fates."""
    chance, numbers = random.Random(1), list(range(jobs))
    shuffled = chance.sample(numbers, jobs)
    cancelled, disconnected = round(jobs * CANCELLED), round(jobs * DISCONNECTED)
    fates = dict.fromkeys(numbers, "patient")
    fates |= dict.fromkeys(shuffled[:cancelled], "cancelled")
    fates |= dict.fromkeys(shuffled[cancelled : cancelled + disconnected], "disconnected")
    return [{"number": number, "fate": fates[number]} for number in numbers]


class Load:
    """The process of the clients."""

    def __init__(self, folder: Path, address: str, clients: int, jobs: list[Facts]):
        self.out = folder / "found.json"
        write_json(given := folder / "plan.json", {"clients": clients, "jobs": jobs})
        command = [sys.executable, str(CLIENTS), address, str(given), str(self.out)]
        self.process = subprocess.Popen(command, env=ENVIRONMENT)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def found(self) -> Facts:
        """What the clients have seen."""
        if self.process.wait():
            raise RuntimeError("the clients have failed")
        return json.loads(self.out.read_text())


def disturbed(folder: Path, options: argparse.Namespace) -> tuple[Facts, list[Facts], set[str]]:
    """The load with kills; returns the facts, the end of each job, and the jobs that were continued."""
    limits = ("--max-queue", str(options.max_queue), "--workers", str(options.workers), "--save-state-seconds", "0")
    server = ServerProcess(folder / "store", *limits)
    watch(server.store)
    server.wait_until_ready(options.workers)
    warm = [{"number": options.jobs + number, "fate": "patient"} for number in range(2 * options.workers)]
    warmed = Load(folder, server.address, len(warm), warm).found()["ends"]
    memory, killer = Memory(server), Killer(server, options.kills, options.jobs)
    jobs = plan(options.jobs)
    before, began = os.getloadavg()[0], time.perf_counter()
    load = Load(folder, server.address, options.clients, jobs)
    while load.is_running():
        time.sleep(TICK)
        killer.look()
        memory.look()
    seconds, found = time.perf_counter() - began, load.found()
    server.wait_until_ready(options.workers)
    memory.look()
    server.stop()
    ends = [*found["ends"], *warmed]
    facts = {
        "seconds": round(seconds, 1),
        "load_before": before,
        "kills": dict(killer.done),
        "deaths_with_a_job": server.store.deaths(),
        "warm_up_jobs": len(warm),
        "store": checked(server.store, ends, [key_of(end["number"]) for end in [*jobs, *warm]]),
        "cancelled_when": dict(Counter(end["cancelled_when"] for end in ends if end["fate"] == "cancelled")),
        "clients": found["counts"],
        "restart_seconds": [round(until - since, 1) for since, until in server.down],
        "answers": _answers(found["times"], server.down),
        "megabytes": memory.facts(),
    }
    return facts, ends, resumed(server.store)


def compared(folder: Path, options: argparse.Namespace, ends: list[Facts], again: set[str]) -> Facts:
    """Make videos again without any disturbance, and compare them."""
    completed = [end for end in ends if end["end"] == "completed"]
    others = [end for end in completed if end["id"] not in again]
    count = max(0, options.compare - len(again))
    chosen = [end for end in completed if end["id"] in again]
    chosen += random.Random(2).sample(others, min(len(others), count))
    server = ServerProcess(folder / "undisturbed", "--workers", str(options.workers))
    server.wait_until_ready(options.workers)
    jobs = [{"number": end["number"], "fate": "patient"} for end in chosen]
    made = {end["number"]: end["sha256"] for end in Load(folder, server.address, 8, jobs).found()["ends"]}
    server.stop()
    same = [end for end in chosen if end["sha256"] == made[end["number"]]]
    return {
        "compared": len(chosen),
        "same_bytes": len(same),
        "continued": sum(end["id"] in again for end in chosen),
        "continued_same_bytes": sum(end["id"] in again for end in same),
    }


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _answers(times: dict[str, list[tuple[float, float]]], down: list[tuple[float, float]]) -> Facts:
    """How long answers took; those to requests that waited for the next server apart."""
    found = {}
    for name, values in times.items():
        waited = [any(sent < until and sent + took > since for since, until in down) for sent, took in values]
        durations = {name: [], f"{name}_while_restarting": []}
        for late, (_, took) in zip(waited, values, strict=True):
            durations[f"{name}_while_restarting" if late else name].append(took)
        found |= {kind: _quantiles(seconds) for kind, seconds in durations.items()}
    return found


def _quantiles(seconds: list[float]) -> Facts:
    """Durations in milliseconds."""
    if not seconds:
        return {"count": 0}
    middle, late, last = (float(value) * 1000 for value in np.quantile(seconds, (0.5, 0.99, 1)))
    return {"count": len(seconds), "p50_ms": round(middle, 1), "p99_ms": round(late, 1), "max_ms": round(last, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64, help="Clients at the same time. Default: %(default)s.")
    parser.add_argument("--jobs", type=int, default=500, help="Jobs in all. Default: %(default)s.")
    parser.add_argument("--kills", type=int, default=20, help="Times that something is killed. Default: %(default)s.")
    parser.add_argument("--workers", type=int, default=2, help="Worker processes. Default: %(default)s.")
    parser.add_argument("--max-queue", type=int, default=48, help="Most jobs that wait. Default: %(default)s.")
    parser.add_argument("--compare", type=int, default=150, help="Videos that are made again. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    with tempfile.TemporaryDirectory() as name:
        facts, ends, again = disturbed(Path(name), options)
        print(json.dumps(facts, indent=2), flush=True)
        facts["bytes"] = compared(Path(name), options, ends, again)
    settings = {name: getattr(options, name) for name in ("clients", "jobs", "kills", "workers", "max_queue")}
    write(out, {"settings": settings | {"steps": STEPS, "frames": FRAMES, "size": SIZE}, **facts})


if __name__ == "__main__":
    main()
