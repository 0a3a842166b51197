"""The store of video jobs: one folder, shared by all servers and workers of a machine.

jobs.sqlite             jobs, characters, workers
inputs/JOB/             uploaded images, masks and subject files
states/JOB/run.state    the sampler's state of a job in progress
previews/JOB/           what the video looks like so far
videos/JOB/ATTEMPT/     the video, its recipe, a thumbnail and a sprite sheet
characters/CHARACTER/   images or the subject file of a character

A job that was accepted is on the disk, and ends in exactly one final state: completed, failed or deleted.
"""

import random
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Literal

from refilm.serving.characters import Characters
from refilm.serving.database import Database
from refilm.serving.errors import IdempotencyConflictError, NotFoundError, QueueFullError
from refilm.serving.folders import Folders
from refilm.serving.job import STATUSES, Status, VideoJob, to_json
from refilm.serving.leases import Leases
from refilm.serving.records import COLUMNS, job_of
from refilm.serving.requests import File, digest_of, require_valid, write_files

SEEDS = 2**31
RECENT = 20  # videos that the mean duration is of
Variant = Literal["video", "thumbnail", "spritesheet"]
IMAGES = {"thumbnail": "thumbnail.webp", "spritesheet": "spritesheet.jpg"}


@dataclass(frozen=True)
class Page:
    """A part of the list of jobs."""

    jobs: tuple[VideoJob, ...]
    has_more: bool


class Store:
    """The jobs, characters and files of a folder, which is created if it does not exist.

    Its methods are safe for any number of threads and processes. A store must not be used across a fork.

    Args:
        folder: the folder.
        keep_days: days after which retention removes ended jobs. Default: never because of their age.
        keep_bytes: bytes of results above which retention removes the oldest ended jobs. Default: no limit.

    Raises:
        UserError: the database is damaged or of a later version.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path | str, *, keep_days: float | None = None, keep_bytes: int | None = None):
        self.folder, self.keep_days, self.keep_bytes = Path(folder).resolve(), keep_days, keep_bytes
        self.files = Folders(self.folder)
        self.database = Database(self.folder / "jobs.sqlite")
        self.characters = Characters(self.database, self.files)
        self.leases = Leases(self.database, self.files)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def accept(
        self,
        request: Mapping[str, Any],
        files: Mapping[str, File] | None = None,
        *,
        model: str,
        key: str | None = None,
        max_queue: int | None = None,
    ) -> VideoJob:
        """Store a job durably; it is queued when this returns.

        Args:
            request: a row of a list; its seed is drawn if it has none.
            files: the files that the request names, as their content or as files to copy.
            model: name of the model, as in `ServedModel.name`; only its workers make the job.
            key: idempotency key: the same key with the same request and files returns the same job.
            max_queue: the greatest number of queued jobs.

        Raises:
            QueueFullError: so many jobs are queued already.
            IdempotencyConflictError: the key was used for another request, or for a job that was deleted.
            UserError: the request is invalid.
            OSError: the disk is full; nothing is stored.
        """
        files = files or {}
        require_valid(request, files)
        body = digest_of(request, files)
        with self.database.reading() as database:
            known = self._admitted(database, key, body, max_queue)
        if known is not None:
            return known
        job = f"video_{uuid.uuid4().hex}"
        stored = to_json(
            {**request, "seed": random.randrange(SEEDS) if request.get("seed") is None else request["seed"]}
        )
        try:
            if files:
                write_files(files, self.files.inputs(job))
            with self.database.writing() as database:
                known = self._admitted(database, key, body, max_queue)
                if known is None:
                    database.execute(
                        "INSERT INTO jobs (id, status, model, request, created, key, body) "
                        "VALUES (?, 'queued', ?, ?, ?, ?, ?)",
                        (job, model, stored, time.time(), key, body),
                    )
        except BaseException:
            self.files.remove(job, "inputs")
            raise
        if known is not None:  # the same request was accepted meanwhile
            self.files.remove(job, "inputs")
            return known
        return self.get(job, deleted=True)

    def get(self, job: str, *, deleted: bool = False) -> VideoJob:
        """A job.

        Args:
            job: its id.
            deleted: whether a deleted job is found too.

        Raises:
            NotFoundError: there is none.
        """
        with self.database.reading() as database:
            found = self._find(database, job)
        if found is None or (found.status == "deleted" and not deleted):
            raise NotFoundError(f"{job}: no such video")
        return found

    def changed_since(self, job: str, revision: int) -> VideoJob | None:
        """The job if it has changed since a revision, also if it was deleted; None if not. Cheap.

        Raises:
            NotFoundError: there is none.
        """
        with self.database.reading() as database:
            row = database.execute("SELECT revision FROM jobs WHERE id = ?", (job,)).fetchone()
        if row is not None and row["revision"] == revision:
            return None
        return self.get(job, deleted=True)

    def list(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
        status: Status | None = None,
    ) -> Page:
        """Jobs in the order of acceptance; a page stays the same however many jobs are accepted meanwhile.

        Args:
            after: id of the last job of the page before.
            limit: the greatest number of jobs.
            order: desc is newest first.
            status: only jobs of this status.

        Raises:
            NotFoundError: there is no job `after`; a deleted one is fine.
        """
        values: list[str | int] = [status] if status else []
        wanted = "status = ?" if status else "status != 'deleted'"
        if after is not None:
            wanted += f" AND number {'<' if order == 'desc' else '>'} ?"
            values.append(self.get(after, deleted=True).number)
        query = f"SELECT {COLUMNS} FROM jobs WHERE {wanted} ORDER BY number {order.upper()} LIMIT ?"
        with self.database.reading() as database:
            rows = database.execute(query, (*values, limit + 1)).fetchall()
        return Page(tuple(job_of(row, self.keep_days) for row in rows[:limit]), len(rows) > limit)

    def delete(self, job: str) -> VideoJob:
        """Delete a job and its files; one in progress is stopped by its worker. Returns the job as deleted.

        Raises:
            NotFoundError: there is none, or it is deleted already.
        """
        with self.database.writing() as database:
            found = self._find(database, job)
            if found is None or found.status == "deleted":
                raise NotFoundError(f"{job}: no such video")
            mark_deleted(database, [job])
        self.files.remove(job)
        return self.get(job, deleted=True)

    def position(self, job: str) -> int | None:
        """Number of queued jobs of the same model before a queued one; None if it is not queued."""
        query = (
            "SELECT (SELECT count(*) FROM jobs WHERE status = 'queued' AND number < own.number AND model = own.model) "
            "AS before FROM jobs AS own WHERE id = ? AND status = 'queued'"
        )
        with self.database.reading() as database:
            row = database.execute(query, (job,)).fetchone()
        return None if row is None else row["before"]

    def counts(self) -> dict[Status, int]:
        """Number of jobs of each status, deleted ones included."""
        with self.database.reading() as database:
            rows = database.execute("SELECT status, count(*) AS jobs FROM jobs GROUP BY status").fetchall()
        return dict.fromkeys(STATUSES, 0) | {row["status"]: row["jobs"] for row in rows}

    def mean_seconds(self) -> float | None:
        """Mean duration of the last videos, from the first start to the end; None if there are none."""
        query = (
            "SELECT avg(ended - started) AS mean FROM (SELECT ended, started FROM jobs WHERE status = 'completed' "
            "ORDER BY number DESC LIMIT ?)"
        )
        with self.database.reading() as database:
            return database.execute(query, (RECENT,)).fetchone()["mean"]

    def content(self, job: VideoJob, variant: Variant = "video") -> Path:
        """The file of a completed job's video, or of an image of it.

        Raises:
            NotFoundError: the job is not completed, or was deleted.
        """
        path = self.files.results(job) / (job.output if variant == "video" else IMAGES[variant])
        if job.status != "completed" or not path.is_file():
            raise NotFoundError(f"{job.id}: has no {variant}; its status is {job.status}")
        return path

    def preview(self, job: VideoJob) -> Path | None:
        """An animated WebP of what the video looks like so far; None if there is none (yet)."""
        path = self.files.preview(job.id)
        return path if job.preview and path.is_file() else None

    def deaths(self) -> int:
        """Number of workers that died while they made a job."""
        with self.database.reading() as database:
            return database.execute("SELECT coalesce(sum(deaths), 0) AS deaths FROM jobs").fetchone()["deaths"]

    def free_bytes(self) -> int:
        """Free bytes on the disk of the store."""
        return shutil.disk_usage(self.folder).free

    def _find(self, database: Connection, job: str) -> VideoJob | None:
        row = database.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else job_of(row, self.keep_days)

    def _admitted(self, database: Connection, key: str | None, body: str, max_queue: int | None) -> VideoJob | None:
        """The job that a key stands for already; None if a new one may be queued."""
        row = None if key is None else database.execute("SELECT id, body FROM jobs WHERE key = ?", (key,)).fetchone()
        if row is not None:
            known = self._find(database, row["id"])
            if known is None or row["body"] != body or known.status == "deleted":
                raise IdempotencyConflictError("the idempotency key was used for another request; use a new key")
            return known
        queued = database.execute("SELECT count(*) AS jobs FROM jobs WHERE status = 'queued'").fetchone()["jobs"]
        if max_queue is not None and queued >= max_queue:
            raise QueueFullError(f"{queued} videos are queued already; try again later")
        return None


def mark_deleted(database: Connection, jobs: Sequence[str]) -> None:
    """Make jobs deleted ones; nothing of their request remains."""
    query = (
        "UPDATE jobs SET status = 'deleted', request = '{}', files = '{}', error = NULL, eta = NULL, worker = NULL, "
        "lease_until = NULL, ended = coalesce(ended, ?), revision = revision + 1 "
        "WHERE id = ? AND status != 'deleted'"
    )
    database.executemany(query, [(time.time(), job) for job in jobs])
