"""The objects that the API answers with, and how they are made from the store's."""

import math
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from refilm.serving import Character, Store, VideoJob
from refilm.serving.api.server import Server

SOONEST, LATEST = 250, 5000  # milliseconds until the next poll
OFTEN = 8  # polls until the video is expected


class Documented(BaseModel):
    """An object of the API, whose fields the OpenAPI document explains."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class VideoError(Documented):
    """Why a video failed."""

    code: str
    """invalid_request, out_of_memory, disk_full, worker_died or internal."""
    message: str
    """One line for the user."""
    type: str
    """invalid_request_error or server_error."""


class Video(Documented):
    """A video that was asked for. Times are seconds since 1970."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Literal["queued", "in_progress", "completed", "failed", "deleted"]
    """deleted is only in the last event of a deleted video."""
    progress: int
    """0 to 100; it never decreases."""
    created_at: int
    completed_at: int | None
    """When it was completed."""
    expires_at: int | None
    """When it is removed because of its age."""
    size: str
    """Width x height in pixels."""
    seconds: str
    """Duration."""
    prompt: str | None
    seed: int | None
    """The random seed; the same request with it gives the same video."""
    remixed_from_video_id: str | None = None
    error: VideoError | None
    step: int
    """Number of sampler steps that are done."""
    steps: int
    """Number of all sampler steps; 0 until the video is begun."""
    eta: float | None
    """Estimated seconds until it is completed, if it is in progress."""
    queue_position: int | None = None
    """Number of videos that are made before it; in lists always null."""
    preview_url: str | None
    """What the video looks like so far, an animated image; the URL changes with the image."""


class Deleted(Documented):
    """What a deletion is answered with."""

    id: str
    object: Literal["video.deleted", "character.deleted"]
    deleted: Literal[True] = True


class CharacterObject(Documented):
    """A subject that requests name by its id."""

    id: str
    object: Literal["character"] = "character"
    name: str
    words: list[str]
    """Words of a prompt that mean it."""
    files: int
    """Number of its images; 1 for a subject file."""
    created_at: int


class VideoList(Documented):
    """A page of videos."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    """Give it as `after` for the next page."""
    has_more: bool


class CharacterList(Documented):
    """A page of characters."""

    object: Literal["list"] = "list"
    data: list[CharacterObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


def video_of(job: VideoJob, server: Server, *, position: int | None = None) -> Video:
    """A job as clients see it. Of a deleted one, nothing of its request remains."""
    defaults, request = server.options.model.defaults, job.request
    frames = request.get("frames") or defaults.frames
    return Video(
        id=job.id,
        model=job.model,
        status=job.status,
        progress=job.progress,
        created_at=int(job.created),
        completed_at=int(job.ended) if job.status == "completed" and job.ended else None,
        expires_at=None if job.expires is None else int(job.expires),
        size=request.get("size") or f"{defaults.width}x{defaults.height}",
        seconds=f"{frames / defaults.fps:g}",
        prompt=request.get("prompt"),
        seed=request.get("seed"),
        error=None if job.error is None else VideoError(**vars(job.error)),
        step=job.step,
        steps=job.steps,
        eta=job.eta,
        queue_position=position,
        preview_url=f"/v1/videos/{job.id}/preview?step={job.preview}" if job.preview else None,
    )


def character_of(character: Character) -> CharacterObject:
    """A character as clients see it."""
    return CharacterObject(
        id=character.id,
        name=character.name,
        words=[*character.words],
        files=len(character.files),
        created_at=int(character.created),
    )


def page_of(data: list[Any], has_more: bool) -> dict[str, Any]:
    """The fields of a page."""
    ids = [one.id for one in data]
    return {
        "data": data,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }


def poll_after(job: VideoJob, position: int | None, store: Store) -> str:
    """Milliseconds after which a client should ask for a job again: a part of the time that it is expected to take."""
    seconds = job.eta
    if seconds is None:
        seconds = (store.mean_seconds() or 2.0) * ((position or 0) + 1)
    return str(min(LATEST, max(SOONEST, math.ceil(seconds * 1000 / OFTEN))))


def subject_name(character: Character, number: int) -> str:
    """A name of a subject for a character."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", character.name).strip("-")[:24]
    return f"{plain}-{number}" if plain[:1].isalpha() else f"character-{number}"
