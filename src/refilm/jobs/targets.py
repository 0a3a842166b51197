"""Which files of an output folder a row may write: new ones, and those that its list has made before.

The mark of a video, `.jobs/NAME.made`, names the list. It is written before the video: a process that is killed in
between leaves no file that its list does not know.
"""

import os
from pathlib import Path

from refilm.errors import UserError
from refilm.files import read_json, write_json
from refilm.generation.recipe import recipe_path
from refilm.jobs.job import Job
from refilm.jobs.records import Records
from refilm.media import check_target, existing_files


def require_own(job: Job, records: Records) -> None:
    """Check that a row can write its video.

    Raises:
        UserError: the file is a folder or cannot be written, or a file of its name is not from this list.
    """
    path = records.out / job.output
    check_target(path)
    existing = [
        *existing_files(path),
        *filter(Path.exists, [recipe_path(path)]),
    ]  # readers would take the recipe for its own
    if existing and not _is_marked(job, records):  # in this order: another process may be writing it
        raise UserError(
            f"{existing[0].name}: exists, and was not made from this list; remove it, or choose another output"
        )


def mark_as_own(job: Job, records: Records) -> None:
    """Record that a list is about to write the video of a row."""
    if not _is_marked(job, records):
        write_json(records.mark(job), {"list": _list_of(job, records)})


def _is_marked(job: Job, records: Records) -> bool:
    path = records.mark(job)
    return path.is_file() and read_json(path).get("list") == _list_of(job, records)


def _list_of(job: Job, records: Records) -> str:
    """The list as seen from the output folder, so that both may be moved together."""
    return os.path.relpath(job.source, records.out.resolve())
