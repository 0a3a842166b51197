"""Retention: removes ended jobs by age and total size, and files that no job has any more."""

import shutil
import time
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from refilm.serving.records import DAY
from refilm.serving.store import Store, mark_deleted

REMEMBERED = 30 * DAY  # seconds that a deleted job is remembered by its id
GRACE = 3600.0  # seconds after which files without a job were left by a killed process


def retain(store: Store) -> list[str]:
    """Remove what the store should not keep; returns the ids of the jobs that were deleted.

    Only ended jobs are deleted: those older than `keep_days`, then the oldest until all results and inputs fit into
    `keep_bytes`.
    """
    now, query = time.time(), "SELECT id, ended FROM jobs WHERE status IN ('completed', 'failed') ORDER BY ended"
    with store.database.reading() as database:
        ended = {row["id"]: row["ended"] for row in database.execute(query)}
    old = [job for job, when in ended.items() if store.keep_days is not None and when < now - store.keep_days * DAY]
    large = _oldest_beyond(store, [job for job in ended if job not in old])
    with store.database.writing() as database:
        mark_deleted(database, [*old, *large])
        database.execute("DELETE FROM jobs WHERE status = 'deleted' AND ended < ?", (now - REMEMBERED,))
    _remove_orphans(store, now)
    store.leases.forget_dead()
    return [*old, *large]


def _oldest_beyond(store: Store, jobs: list[str]) -> list[str]:
    """The first jobs, without which the others fit into the limit of size."""
    if store.keep_bytes is None:
        return []
    sizes = [sum(_bytes(store.folder / part / job) for part in ("videos", "inputs")) for job in jobs]
    excess, chosen = sum(sizes) - store.keep_bytes, []
    for job, size in zip(jobs, sizes, strict=True):
        if excess <= 0:
            break
        chosen.append(job)
        excess -= size
    return chosen


def _remove_orphans(store: Store, now: float) -> None:
    """Remove the files of deleted jobs, the states of ended ones, and what killed processes left."""
    with store.database.reading() as database:
        status = {row["id"]: row["status"] for row in database.execute("SELECT id, status FROM jobs")}
    for job in store.files.jobs():
        if job not in status:
            if all(_age(folder, now) > GRACE for folder in store.folder.glob(f"*/{job}")):
                store.files.remove(job)
        elif status[job] == "deleted":
            store.files.remove(job)
        elif status[job] in ("completed", "failed"):
            store.files.remove(job, "states", "previews")
    store.files.remove_unfinished()
    for folder in _without_character(store):
        if _age(folder, now) > GRACE:
            shutil.rmtree(folder, ignore_errors=True)


def _without_character(store: Store) -> list[Path]:
    """The folders of characters that were not stored, or are deleted."""
    with store.database.reading() as database:
        known = {row["id"] for row in database.execute("SELECT id FROM characters")}
    return [folder for folder in store.files.characters() if folder.name not in known]


def _bytes(folder: Path) -> int:
    """The size of a folder's files; what is removed meanwhile does not count."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            state = path.lstat()
            total += state.st_size if S_ISREG(state.st_mode) else 0
    return total


def _age(folder: Path, now: float) -> float:
    """Seconds since a folder changed; 0 if it is removed meanwhile."""
    with suppress(FileNotFoundError):
        return now - folder.stat().st_mtime
    return 0.0
