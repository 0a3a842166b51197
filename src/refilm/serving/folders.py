"""Where a store has the files of its jobs and characters."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from refilm.files import remove_abandoned
from refilm.serving.job import VideoJob

PARTS = ("inputs", "states", "previews", "videos")


class Folders:
    """The folders of a store; they are created if they do not exist.

    Args:
        root: the store's folder.
    """

    def __init__(self, root: Path):
        self.root = root
        for part in (*PARTS, "characters"):
            (root / part).mkdir(parents=True, exist_ok=True)

    def inputs(self, job: str) -> Path:
        """The folder with the input files of a job."""
        return self.root / "inputs" / job

    def state(self, job: str) -> Path:
        """The file of the sampler's state of a job."""
        return self.root / "states" / job / "run.state"

    def preview(self, job: str) -> Path:
        """The preview of a job, an animated image."""
        return self.root / "previews" / job / "preview.webp"

    def results(self, job: VideoJob) -> Path:
        """The folder with the results of a job's last attempt. Each attempt has its own, so none replaces another's."""
        return self.root / "videos" / job.id / str(job.attempts)

    def character(self, character: str) -> Path:
        """The folder with the files of a character."""
        return self.root / "characters" / character

    def remove(self, job: str, *parts: str) -> None:
        """Remove some of a job's folders; all if none is named. What is in use by another process may remain."""
        for part in parts or PARTS:
            shutil.rmtree(self.root / part / job, ignore_errors=True)

    def remove_results(self, job: VideoJob) -> None:
        """Remove the results of a job's last attempt."""
        shutil.rmtree(self.results(job), ignore_errors=True)

    def remove_earlier_results(self, job: VideoJob) -> None:
        """Remove what earlier attempts left that were killed before they could end the job."""
        with suppress(FileNotFoundError):  # the job was deleted meanwhile
            for folder in self.results(job).parent.iterdir():
                if folder != self.results(job):
                    shutil.rmtree(folder, ignore_errors=True)

    def jobs(self) -> Iterator[str]:
        """The jobs that have a folder."""
        yield from {path.name for part in PARTS for path in (self.root / part).glob("video_*")}

    def remove_unfinished(self) -> None:
        """Remove what killed processes have written in part."""
        for part in (*PARTS, "characters"):
            remove_abandoned(self.root / part)

    def characters(self) -> Iterator[Path]:
        """The folders of characters."""
        yield from (self.root / "characters").glob("char_*")
