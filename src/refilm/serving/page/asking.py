"""What the buttons of the page do to the store: new videos, drafts, another seed, the finish of a draft."""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refilm.errors import UserError
from refilm.serving.errors import NotFoundError
from refilm.serving.job import VideoJob
from refilm.serving.options import ServerOptions
from refilm.serving.requests import EXPLAIN
from refilm.serving.store import SEEDS, Store

DRAFT = re.compile(r"draft-of-(\d{1,3})-steps\.mp4")
"""The file of a draft names the steps of the finished video, so that it can be finished after any restart."""
FULL = "the disk is full; delete videos, or start the server with --keep-gb"


class Desk:
    """Asks a store for videos.

    Args:
        store: the store.
        options: model and limits.
    """

    def __init__(self, store: Store, options: ServerOptions):
        self.store, self.options = store, options

    def create(self, request: Mapping[str, Any], files: Mapping[str, Path | bytes]) -> VideoJob:
        """Ask for a video.

        Raises:
            UserError: the request is invalid, or too many videos wait.
        """
        self.options.model.check(dict(request))
        try:
            return self.store.accept(request, files, model=self.options.model.name, max_queue=self.options.max_queue)
        except NotFoundError:
            raise
        except OSError as error:
            raise UserError(FULL) from error

    def drafts(
        self, request: Mapping[str, Any], files: Mapping[str, Path | bytes], *, count: int, steps: int
    ) -> list[VideoJob]:
        """Ask for videos of several seeds with few steps.

        Raises:
            UserError: as `create`.
        """
        full = self.options.model.check(dict(request)).steps
        if not 1 <= steps < full:
            raise UserError(f"Steps of a draft: {steps}; give 1 to {full - 1}, fewer than those of the video")
        first = random.randrange(SEEDS) if request.get("seed") is None else request["seed"]
        output = f"draft-of-{full}-steps.mp4"
        drafts = [{**request, "steps": steps, "seed": first + number, "output": output} for number in range(count)]
        return [self.create(draft, files) for draft in drafts]

    def again(self, job: VideoJob) -> VideoJob:
        """Ask for a video once more, with another seed.

        Raises:
            UserError: as `create`.
        """
        return self.create(
            {name: value for name, value in job.request.items() if name not in ("seed", EXPLAIN)}, self.files(job)
        )

    def finish(self, job: VideoJob) -> VideoJob:
        """Ask for the video of a draft: the same seed and settings with all steps.

        Raises:
            UserError: it is no draft, or as `create`.
        """
        steps = steps_of_draft(job)
        if steps is None:
            raise UserError("this video is no draft")
        request = {name: value for name, value in job.request.items() if name != "output"}
        return self.create({**request, "steps": steps}, self.files(job))

    def explain(self, job: VideoJob) -> VideoJob:
        """Ask for a video once more, with heat maps.

        Raises:
            UserError: as `create`.
        """
        return self.create({**job.request, EXPLAIN: True}, self.files(job))

    def files(self, job: VideoJob) -> dict[str, Path]:
        """The input files of a job."""
        folder = self.store.files.inputs(job.id)
        return {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}


def steps_of_draft(job: VideoJob) -> int | None:
    """The steps of the finished video, if a job is a draft."""
    match = DRAFT.fullmatch(job.output)
    return int(match[1]) if match else None
