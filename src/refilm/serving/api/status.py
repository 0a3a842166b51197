"""The routes that say how the server is: its model, its health, its metrics."""

from collections import Counter
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from refilm.serving.api.objects import Documented
from refilm.serving.api.server import Served, Server
from refilm.serving.errors import NotFoundError

router = APIRouter(tags=["server"])


class Model(Documented):
    """A model, and its defaults."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "refilm"
    size: str
    """Width x height in pixels."""
    frames: int
    fps: float
    steps: int
    guidance: float
    sampler: str
    references: bool
    """Whether it takes images of subjects."""


class Models(Documented):
    """All models of the server."""

    object: Literal["list"] = "list"
    data: list[Model]


class Health(Documented):
    """Whether videos are made."""

    status: Literal["ok", "no_worker"]
    """no_worker: requests are accepted and wait until a worker runs."""
    workers: int


@router.get("/v1/models")
async def list_models(server: Served) -> Models:
    """The models of the server: the one that it was started with."""
    return Models(data=[_model(server)])


@router.get("/v1/models/{model_id:path}")
async def get_model(model_id: str, server: Served) -> Model:
    """A model."""
    if model_id != server.options.model.name:
        raise NotFoundError(f"model: the server has no {model_id!r:.100}; it has {server.options.model.name}")
    return _model(server)


@router.get("/health")
def health(server: Served) -> Health:
    """Whether the server answers, and has workers. Needs no token."""
    workers = len(server.store.leases.workers())
    return Health(status="ok" if workers else "no_worker", workers=workers)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(server: Served) -> PlainTextResponse:
    """Numbers for Prometheus."""
    store = server.store
    states = Counter("busy" if one.state.startswith("video_") else one.state for one in store.leases.workers())
    lines = [
        *_metric(
            "refilm_videos", "gauge", "Videos by status.", {f'status="{k}"': n for k, n in store.counts().items()}
        ),
        *_metric(
            "refilm_workers",
            "gauge",
            "Worker processes by state.",
            {f'state="{state}"': states[state] for state in ("loading", "idle", "busy")},
        ),
        *_metric("refilm_worker_deaths", "gauge", "Workers that died during listed videos.", {"": store.deaths()}),
        *_metric("refilm_video_seconds", "gauge", "Mean duration of the last videos.", {"": store.mean_seconds() or 0}),
        *_metric("refilm_queue_limit", "gauge", "Most videos that wait.", {"": server.options.max_queue}),
        *_metric("refilm_free_bytes", "gauge", "Free bytes on the disk of the videos.", {"": store.free_bytes()}),
    ]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _metric(name: str, kind: str, text: str, values: dict[str, float]) -> list[str]:
    """A metric in Prometheus' text format; its values by their labels."""
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    return lines + [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in values.items()]


def _model(server: Server) -> Model:
    model = server.options.model
    values = model.defaults
    return Model(
        id=model.name,
        size=f"{values.width}x{values.height}",
        frames=values.frames,
        fps=values.fps,
        steps=values.steps,
        guidance=values.guidance,
        sampler=values.sampler,
        references=model.has_adapter,
    )
