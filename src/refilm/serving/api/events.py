"""The progress of a video as server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from refilm.serving import VideoJob
from refilm.serving.api.objects import video_of
from refilm.serving.api.server import Served, Server
from refilm.serving.errors import NotFoundError

EVERY, HEARTBEAT = 0.25, 15.0  # seconds
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Events named video, whose data is the video as JSON."}
}
router = APIRouter(prefix="/v1/videos", tags=["videos"])


@router.get("/{video_id}/events", response_class=StreamingResponse, responses=EVENTS)
async def follow_video(video_id: str, server: Served) -> StreamingResponse:
    """An event for the present state of a video and for each change; the last one has its final state."""
    job = await run_in_threadpool(server.store.get, video_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(job, server), media_type="text/event-stream", headers=headers)


async def _events(job: VideoJob, server: Server) -> AsyncIterator[str]:
    while True:
        position = await run_in_threadpool(server.store.position, job.id) if job.status == "queued" else None
        video = video_of(job, server, position=position)
        yield f"event: video\nid: {job.revision}\ndata: {video.model_dump_json()}\n\n"
        if job.is_final:
            return
        changed, spoken = None, time.monotonic()
        while changed is None:
            await asyncio.sleep(EVERY)
            try:
                changed = await run_in_threadpool(server.store.changed_since, job.id, job.revision)
            except NotFoundError:  # retention has removed it
                return
            if changed is None and time.monotonic() - spoken > HEARTBEAT:
                yield ": waiting\n\n"
                spoken = time.monotonic()
        job = changed
