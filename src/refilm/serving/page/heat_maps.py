"""The heat maps of a finished video: which parts of its images it read."""

from pathlib import Path

from refilm.serving.errors import NotFoundError
from refilm.serving.job import VideoJob
from refilm.serving.store import Store

ENDINGS = (".attention.mp4", ".subjects.mp4")


def maps_of(store: Store, job: VideoJob) -> list[Path]:
    """The videos with the heat maps of a video; none if they were not asked for.

    Raises:
        NotFoundError: the video is not finished.
    """
    folder = store.content(job).parent
    return sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS))


def map_of(store: Store, job: VideoJob, name: str) -> Path:
    """One of them by its name.

    Raises:
        NotFoundError: there is none.
    """
    for path in maps_of(store, job):
        if path.name == name:
            return path
    raise NotFoundError(f"{job.id}: no heat map of this name")
