"""Leases: which worker makes which job.

A worker takes the oldest queued job and renews its lease while it works. The job of a worker that has died, or has not
renewed its lease, is queued again; after `MOST_DEATHS` dead workers it fails, so that it cannot end workers forever.
Every take increases the job's number of attempts, and a worker can change a job only while that number is its own: a
worker that was stopped for long and wakes up changes nothing.
"""

import json
import time
from dataclasses import dataclass
from sqlite3 import Connection, Row
from typing import Any

from refilm.jobs.claims import Process
from refilm.serving.database import Database
from refilm.serving.folders import Folders
from refilm.serving.job import JobError, VideoJob, to_json
from refilm.serving.records import COLUMNS, error_text, job_of

LEASE = 60.0  # seconds without renewal after which a worker counts as dead
MOST_DEATHS = 3
PORTION = 95  # percent of the progress that the sampler steps are; the rest is decoding
DIED = "server_error", f"{MOST_DEATHS} worker processes ended while they made this video", "worker_died"


@dataclass(frozen=True)
class Worker:
    """A worker process that runs."""

    pid: int
    device: str
    state: str
    """loading, idle, or the id of its job."""
    seen: float
    """When it was last heard of."""


class Leases:
    """The leases of a store's jobs."""

    def __init__(self, database: Database, folders: Folders):
        self.database, self.folders = database, folders

    def take(self, process: Process, model: str) -> "Lease | None":
        """Take the oldest queued job of a model; None if there is none."""
        self.recover()
        with self.database.reading() as database:
            if not _next(database, model):
                return None
        with self.database.writing(durable=False) as database:
            row = _next(database, model)
            if row is None:
                return None
            now = time.time()
            database.execute(
                "UPDATE jobs SET status = 'in_progress', worker = ?, lease_until = ?, started = coalesce(started, ?), "
                "attempts = attempts + 1, revision = revision + 1 WHERE id = ?",
                (to_json(process._asdict()), now + LEASE, now, row["id"]),
            )
            row = database.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (row["id"],)).fetchone()
        return Lease(self.database, self.folders, job_of(row, None))

    def recover(self) -> None:
        """Queue the jobs of dead workers again, or let them fail."""
        with self.database.reading() as database:
            if not _abandoned(database):
                return
        with self.database.writing() as database:
            for row in _abandoned(database):
                if row["deaths"] + 1 < MOST_DEATHS:
                    change, values = "status = 'queued'", ()
                else:
                    change, values = (
                        "status = 'failed', ended = ?, error = ?",
                        (time.time(), error_text(JobError(*DIED))),
                    )
                database.execute(
                    f"UPDATE jobs SET {change}, deaths = deaths + 1, worker = NULL, lease_until = NULL, eta = NULL, "
                    "revision = revision + 1 WHERE id = ?",
                    (*values, row["id"]),
                )

    def announce(self, process: Process, device: str, state: str) -> None:
        """Record what a worker does, see `Worker.state`."""
        with self.database.writing(durable=False) as database:
            database.execute(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?)",
                (to_json(process._asdict()), device, state, time.time()),
            )

    def leave(self, process: Process) -> None:
        """Remove a worker that ends."""
        with self.database.writing(durable=False) as database:
            database.execute("DELETE FROM workers WHERE process = ?", (to_json(process._asdict()),))

    def workers(self) -> tuple[Worker, ...]:
        """The workers that run."""
        with self.database.reading() as database:
            rows = database.execute("SELECT * FROM workers ORDER BY device, seen").fetchall()
        found = [(_process_of(row["process"]), row) for row in rows]
        return tuple(
            Worker(process.pid, row["device"], row["state"], row["seen"])
            for process, row in found
            if not process.is_gone() and time.time() - row["seen"] < LEASE
        )

    def forget_dead(self) -> None:
        """Remove the records of workers that do not run any more."""
        with self.database.writing(durable=False) as database:
            for row in database.execute("SELECT process FROM workers").fetchall():
                if _process_of(row["process"]).is_gone():
                    database.execute("DELETE FROM workers WHERE process = ?", (row["process"],))


class Lease:
    """A job that this process makes. Each of its methods returns whether the lease is still this process's own."""

    def __init__(self, database: Database, folders: Folders, job: VideoJob):
        self._database, self._folders = database, folders
        self.job = job
        """The job as it was taken."""

    def is_held(self) -> bool:
        """Whether the job was neither deleted nor given to another worker; changes nothing."""
        with self._database.reading() as database:
            query = "SELECT 1 FROM jobs WHERE id = ? AND attempts = ? AND status = 'in_progress'"
            return database.execute(query, (self.job.id, self.job.attempts)).fetchone() is not None

    def renew(self) -> bool:
        """Extend the lease."""
        return self._change("lease_until = ?", time.time() + LEASE, durable=False, visible=False)

    def report(self, step: int, steps: int, eta: float | None, *, preview: bool = False) -> bool:
        """Record the number of steps that are done, and whether there is a new preview of the last one."""
        shown = ", preview = ?" if preview else ""
        return self._change(
            f"step = ?, steps = ?, eta = ?, progress = max(progress, ?), lease_until = ?{shown}",
            *(step, steps, eta, PORTION * step // steps, time.time() + LEASE),
            *((step,) if preview else ()),
            durable=False,
        )

    def complete(self, files: dict[str, int]) -> bool:
        """End the job: its results, names and sizes, are in `Folders.results`."""
        if not self._end("completed", "progress = 100, step = steps, files = ?", to_json(files)):
            return False
        self._folders.remove_earlier_results(self.job)
        return True

    def fail(self, error: JobError) -> bool:
        """End the job with an error."""
        return self._end("failed", "error = ?", error_text(error))

    def give_back(self) -> bool:
        """Queue the job again, at its old place. This counts as no death."""
        return self._change("status = 'queued', worker = NULL, lease_until = NULL, eta = NULL")

    def discard(self) -> None:
        """Remove what this process has written for a job that is not its own any more."""
        with self._database.reading() as database:
            row = database.execute("SELECT status FROM jobs WHERE id = ?", (self.job.id,)).fetchone()
        if row is None or row["status"] == "deleted":
            self._folders.remove(self.job.id)
        else:
            self._folders.remove_results(self.job)

    def _end(self, status: str, change: str, value: Any) -> bool:
        ended = self._change(
            f"status = '{status}', {change}, ended = ?, eta = NULL, worker = NULL, lease_until = NULL",
            *(value, time.time()),
        )
        if ended:
            self._folders.remove(self.job.id, "states", "previews")
        return ended

    def _change(self, change: str, *values: Any, durable: bool = True, visible: bool = True) -> bool:
        change += ", revision = revision + 1" if visible else ""
        query = f"UPDATE jobs SET {change} WHERE id = ? AND attempts = ? AND status = 'in_progress'"
        with self._database.writing(durable=durable) as database:
            return database.execute(query, (*values, self.job.id, self.job.attempts)).rowcount == 1


def _next(database: Connection, model: str) -> Row | None:
    query = "SELECT id FROM jobs WHERE status = 'queued' AND model = ? ORDER BY number LIMIT 1"
    return database.execute(query, (model,)).fetchone()


def _abandoned(database: Connection) -> list[Row]:
    """The jobs in progress whose workers are dead."""
    query = "SELECT id, worker, lease_until, deaths FROM jobs WHERE status = 'in_progress'"
    now = time.time()
    rows = database.execute(query).fetchall()
    return [row for row in rows if row["lease_until"] < now or _process_of(row["worker"]).is_gone()]


def _process_of(text: str) -> Process:
    return Process(**json.loads(text))
