"""Records of the rows of a list: a JSON file per row, so that no two processes write the same file; and the report.

out/fox.mp4                     a video
out/fox.mp4.json                its recipe, as beside every video
out/.jobs/fox.mp4.json          its record
out/.jobs/fox.mp4.claim-0       its claim, see `refilm.jobs.claims`
out/.jobs/fox.mp4.state         its sampler state while it is made
out/.jobs/fox.mp4.made          its mark, see `refilm.jobs.targets`
out/report.jsonl                all records, in the order of the list
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from refilm.errors import UserError
from refilm.files import read_json, require_writable, write_json, write_text
from refilm.jobs.job import Job
from refilm.settings import Seed, Settings

FOLDER = ".jobs"
REPORT = "report.jsonl"
Status = Literal["done", "failed", "open"]


class Record(Settings):
    """What became of a row."""

    number: int = Field(ge=1, lt=2**63)
    """Number of the row, counted from 1."""
    output: str
    """Name of the video's file."""
    status: Status
    """done, failed, or open: not made yet."""
    error: str | None = None
    """Why the row failed."""
    files: tuple[str, ...] = ()
    """Names of the files that were written."""
    seed: Seed = 0
    """Random seed of the video."""
    seconds: float | None = Field(default=None, ge=0)
    """Duration of sampling, decoding and writing."""
    process: str = ""
    """Host and id of the process that made it."""
    ended: str = ""
    """Date and time of its end."""
    digest: str
    """Identifies the content of the row."""


class Records:
    """The records of a list in an output folder, which is created if it is missing.

    Args:
        out: the output folder.
        model: what identifies the model; videos of another model are made again. As the command has it:
            `{"base": "pocket"}`, with adapter, image_encoder and dtype if they are given.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, out: Path, model: Mapping[str, Any]):
        require_writable(out)
        self.out, self.model = out, model
        self.folder = out / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self.report = out / REPORT

    def of(self, job: Job) -> Record | None:
        """The record of a row, unless the row has changed since, or a file of its video is missing.

        Raises:
            UserError: the record is damaged.
        """
        path = self._path(job)
        if not path.exists() or not path.stat().st_size:  # empty if the power failed before it reached the disk
            return None
        try:
            record = Record.from_values(read_json(path))
        except UserError as error:
            raise UserError(f"{path}: damaged record ({error}); remove it to make the video again") from error
        whole = all((self.out / name).is_file() for name in record.files)
        return record if whole and record.digest == job.digest(self.model) else None

    def state(self, job: Job) -> Path:
        """The file of a row's sampler state."""
        return self.folder / f"{job.output}.state"

    def mark(self, job: Job) -> Path:
        """The mark of a row's video."""
        return self.folder / f"{job.output}.made"

    def write(self, job: Job, record: Record) -> None:
        """Write the record of a row atomically.

        Only that of a video waits for the disk: of thousands of invalid rows nothing else is worth keeping.
        """
        write = write_json if record.status == "done" else _write_without_sync
        write(self._path(job), record.to_values())

    def write_report(self, jobs: Sequence[Job]) -> list[Record]:
        """Write all records as one file, and return them.

        Several processes may write it: each writes it again until it agrees with the records after it was written, so
        whichever is last, the file has all rows.
        """
        written, records = None, self._all(jobs)
        while records != written:
            write_text(self.report, "".join(f"{json.dumps(one.to_values(), ensure_ascii=False)}\n" for one in records))
            written, records = records, self._all(jobs)
        return records

    def _all(self, jobs: Sequence[Job]) -> list[Record]:
        return [self.of(job) or _open(job, self.model) for job in jobs]

    def _path(self, job: Job) -> Path:
        return self.folder / f"{job.output}.json"


def _write_without_sync(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as JSON atomically; after a power failure the file may be empty."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _open(job: Job, model: Mapping[str, Any]) -> Record:
    return Record(number=job.number, output=job.output, status="open", seed=job.seed, digest=job.digest(model))


class Attempt:
    """The making of a row, which ends with a record. The digest is that of its start: files may change meanwhile."""

    def __init__(self, job: Job, records: Records):
        self._job, self._records = job, records
        self._digest, self._started = job.digest(records.model), time.perf_counter()

    def done(self, files: Sequence[str]) -> Record:
        """Write the record of a row whose video is written to `files`."""
        return self._write(status="done", files=tuple(files))

    def failed(self, error: Exception) -> Record:
        """Write the record of a row that an error ended."""
        text = " ".join(str(error).split())
        text = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
        return self._write(status="failed", error=f"{self._job.place}: {text}")

    def _write(self, **how: Any) -> Record:
        record = Record(
            number=self._job.number,
            output=self._job.output,
            seed=self._job.seed,
            seconds=round(time.perf_counter() - self._started, 3),
            process=f"{socket.gethostname()}:{os.getpid()}",
            ended=datetime.now(UTC).isoformat(timespec="microseconds"),
            digest=self._digest,
            **how,
        )
        self._records.write(self._job, record)
        return record
