"""What the tests of the store share."""

from pathlib import Path
from typing import Any

from refilm.jobs.claims import Process, this_process
from refilm.serving import Store, VideoJob
from refilm.serving.job import to_json

REQUEST: dict[str, Any] = {"prompt": "a critter bounces", "steps": 3, "seed": 5}
MODEL = "pocket"
ME = this_process()
GONE = Process(ME.machine, ME.pid, "another start")
"""A process of this machine that has ended."""


def accept(store: Store, files=None, **options: Any) -> VideoJob:
    """Accept a job."""
    request = REQUEST | ({"reference": [*files]} if files else {})
    return store.accept(request, files, **{"model": MODEL, **options})


def die(store: Store, job: VideoJob) -> None:
    """Make the worker of a job one that has ended, without recovering the job."""
    with store.database.writing() as database:
        database.execute("UPDATE jobs SET worker = ? WHERE id = ?", (to_json(GONE._asdict()), job.id))


def expire(store: Store, job: VideoJob) -> None:
    """Let the lease of a job run out."""
    with store.database.writing() as database:
        database.execute("UPDATE jobs SET lease_until = 1 WHERE id = ?", (job.id,))


def files_of(store: Store, job: VideoJob) -> list[Path]:
    """All files and folders that a store has for a job."""
    return [path for path in store.folder.glob(f"*/{job.id}/**/*") if path.is_file()]
