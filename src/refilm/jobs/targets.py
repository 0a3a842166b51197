"""Which files of an output folder a row may write: new ones, and those that its list has made before.

The mark of a video, `.jobs/NAME.made`, names the list. It is written before the video: a process that is killed in
between leaves no file that its list does not know.
"""

import re
from collections.abc import Iterator
from glob import escape
from pathlib import Path

from refilm.errors import UserError
from refilm.files import read_json, write_json
from refilm.generation.recipe import recipe_path
from refilm.jobs.job import Job
from refilm.jobs.records import Records
from refilm.media import check_target


def require_own(job: Job, records: Records) -> None:
    """Check that a row can write its video.

    Raises:
        UserError: the file is a folder or cannot be written, or a file of its name is not from this list.
    """
    path = records.out / job.output
    check_target(path)
    existing = next(_existing(path), None)
    if existing is not None and not _is_marked(job, records):  # in this order: another process may be writing it
        raise UserError(
            f"{existing.name}: exists, and was not made from this list; remove it, or choose another output"
        )


def mark_as_own(job: Job, records: Records) -> None:
    """Record that a list is about to write the video of a row."""
    if not _is_marked(job, records):
        write_json(records.mark(job), {"list": str(job.source)})


def _is_marked(job: Job, records: Records) -> bool:
    path = records.mark(job)
    return path.is_file() and read_json(path).get("list") == str(job.source)


def _existing(path: Path) -> Iterator[Path]:
    """The files that a video saved as `path` would replace, and the recipe that readers would take for its own."""
    files = [path, recipe_path(path)]
    if path.suffix.lower() == ".png":
        numbered = re.compile(rf"{re.escape(path.stem)}-\d{{3,}}{re.escape(path.suffix)}")
        files += (
            file
            for file in path.parent.glob(f"{escape(path.stem)}-*{escape(path.suffix)}")
            if numbered.fullmatch(file.name)
        )
    return (file for file in files if file.exists())
