"""A video job as the store has it. It does not know how a job is stored or made."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Status = Literal["queued", "in_progress", "completed", "failed", "deleted"]
STATUSES: tuple[Status, ...] = get_args(Status)
FINAL = ("completed", "failed", "deleted")
OUTPUT = "video.mp4"  # unless the request names another file


@dataclass(frozen=True)
class JobError:
    """Why a job failed."""

    type: Literal["invalid_request_error", "server_error"]
    """Whether the request or the server is the cause."""
    message: str
    """One line for the user."""
    code: str
    """A short name that programs can compare: invalid_request, out_of_memory, disk_full, worker_died, internal."""


@dataclass(frozen=True)
class VideoJob:
    """A video that was asked for. Times are seconds since 1970."""

    id: str
    number: int
    """Place in the order of acceptance."""
    status: Status
    """deleted is final like completed and failed; the store shows deleted jobs only to who asks for them."""
    model: str
    request: dict[str, Any]
    """A row of a list (`refilm.jobs.row`) with a seed; its files are names in the job's folder of inputs."""
    created: float
    started: float | None = None
    ended: float | None = None
    expires: float | None = None
    """When retention removes it. None: never because of its age."""
    progress: int = 0
    """0 to 100; it never decreases."""
    step: int = 0
    """Number of sampler steps that are done."""
    steps: int = 0
    """Number of all sampler steps; 0 until a worker has begun."""
    eta: float | None = None
    """Estimated seconds until the job ends."""
    preview: int = 0
    """The step that the preview shows; 0: there is none."""
    error: JobError | None = None
    worker: str | None = None
    """The process that makes it."""
    attempts: int = 0
    """How often a worker has taken it."""
    deaths: int = 0
    """How many workers died while they made it."""
    files: dict[str, int] = field(default_factory=dict)
    """Names and sizes in bytes of its results."""
    revision: int = 0
    """Increases with every change of the job."""

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.status in FINAL

    @property
    def prompt(self) -> str:
        """What happens, and where."""
        return self.request["prompt"]

    @property
    def seed(self) -> int:
        """The random seed, drawn when the job was accepted unless it was given."""
        return self.request["seed"]

    @property
    def output(self) -> str:
        """Name of the video's file."""
        return self.request.get("output") or OUTPUT


def to_json(value: Any) -> str:
    """Plain values as compact JSON in one canonical order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
