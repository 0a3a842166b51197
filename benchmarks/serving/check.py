"""What `serve_load` reads from a store afterwards: how often each job ended, and which files are there."""

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from refilm.serving import Store
from refilm.serving.folders import PARTS
from refilm.serving.retention import retain

AUDIT = """
CREATE TABLE audit (job TEXT, before TEXT, after TEXT);
CREATE TRIGGER audit_status AFTER UPDATE OF status ON jobs WHEN OLD.status != NEW.status
BEGIN INSERT INTO audit VALUES (OLD.id, OLD.status, NEW.status); END;
"""
FINAL = ("completed", "failed", "deleted")
Facts = dict[str, Any]


def watch(store: Store) -> None:
    """From now on, the database itself records every change of a job's status, whichever process makes it."""
    with closing(sqlite3.connect(store.database.path)) as database:
        database.executescript(AUDIT)


def checked(store: Store, ends: list[Facts], keys: list[str]) -> Facts:
    """Compare the store with what the clients have seen."""
    with closing(sqlite3.connect(store.database.path)) as database:
        rows = database.execute("SELECT key, id, status, attempts FROM jobs ORDER BY number").fetchall()
        changes = database.execute("SELECT job, before, after FROM audit").fetchall()
    seen, ended = {end["id"]: end for end in ends}, Counter((job, after) for job, _, after in changes)
    status = {job: state for _, job, state, _ in rows}
    left = _left(store, status)
    retain(store)
    return {
        "accepted": len(rows),
        "lost": len(set(keys) - {row[0] for row in rows}),
        "unknown": sum(row[0] not in keys for row in rows),
        "without_client": sum(job not in seen for job in status),
        **{name: sum(state == name for state in status.values()) for name in FINAL},
        "not_final": sum(state not in FINAL for state in status.values()),
        "ended_twice": sum(times > 1 for (_, after), times in ended.items() if after in FINAL),
        "left_a_final_state": sum(before in FINAL and after != "deleted" for _, before, after in changes),
        "client_saw_another_end": sum(seen[job]["end"] != state for job, state in status.items() if job in seen),
        "queued_again": sum(after == "queued" for _, _, after in changes),
        "taken_again": sum(attempts > 1 for *_, attempts in rows),
        "broken_results": sum(not _is_whole(store, seen[job]) for job in status if status[job] == "completed"),
        "leftovers": left,
        "leftovers_after_cleaning": _left(store, status),
    }


def resumed(store: Store) -> set[str]:
    """The completed jobs that more than one worker has taken."""
    with closing(sqlite3.connect(store.database.path)) as database:
        return {row[0] for row in database.execute("SELECT id FROM jobs WHERE status = 'completed' AND attempts > 1")}


def _is_whole(store: Store, end: Facts) -> bool:
    """Whether a job has the files of one attempt alone, and its client got this video."""
    job = store.get(end["id"])
    sizes = {path.name: path.stat().st_size for path in store.files.results(job).iterdir()}
    digest = hashlib.sha256(store.content(job).read_bytes()).hexdigest()
    attempts = list(store.files.results(job).parent.iterdir())
    return sizes == job.files and digest == end["sha256"] and attempts == [store.files.results(job)]


def _left(store: Store, status: dict[str, str]) -> int:
    """The number of folders that the end of their job should have removed."""
    kept = {"completed": ("inputs", "videos"), "failed": ("inputs",), "deleted": ()}
    folders: list[tuple[str, Path]] = [(part, path) for part in PARTS for path in (store.folder / part).iterdir()]
    return sum(part not in kept[status[path.name]] if path.name in status else True for part, path in folders)
