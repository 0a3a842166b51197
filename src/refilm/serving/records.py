"""Jobs as rows of the database."""

import json
import sqlite3
from dataclasses import fields
from typing import Any

from refilm.serving.job import JobError, VideoJob, to_json

COLUMNS = ", ".join(field.name for field in fields(VideoJob) if field.name != "expires")
DAY = 86400.0


def job_of(row: sqlite3.Row, keep_days: float | None) -> VideoJob:
    """The job in a row."""
    values: dict[str, Any] = dict(row)
    error, ended = values["error"], values["ended"]
    values["request"], values["files"] = json.loads(values["request"]), json.loads(values["files"])
    values["error"] = None if error is None else JobError(**json.loads(error))
    values["expires"] = None if keep_days is None or ended is None else ended + keep_days * DAY
    return VideoJob(**values)


def error_text(error: JobError) -> str:
    """An error as its column has it."""
    return to_json({"type": error.type, "message": error.message, "code": error.code})
