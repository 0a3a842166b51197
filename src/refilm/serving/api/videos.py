"""The routes of videos: create, remix, get, list, download, delete."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from refilm.errors import UserError
from refilm.serving import VideoJob
from refilm.serving.api.body import Body, read_body
from refilm.serving.api.errors import documented
from refilm.serving.api.fields import SCHEMA, VideoCreate, require_model, row_of
from refilm.serving.api.files import Files, with_files
from refilm.serving.api.objects import Deleted, Video, VideoList, page_of, poll_after, subject_name, video_of
from refilm.serving.api.openapi import body_of
from refilm.serving.api.server import Served, Server
from refilm.serving.errors import NotFoundError
from refilm.settings import Settings

TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
}
PARTS = ("input_reference", "files")  # fields of a form that have files
POLL = {"openai-poll-after-ms": {"description": "Milliseconds until the next poll.", "schema": {"type": "integer"}}}
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
After = Annotated[str | None, Query(max_length=100, description="The last id of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100)]
Order = Annotated[Literal["asc", "desc"], Query(description="desc is newest first.")]
router = APIRouter(prefix="/v1/videos", tags=["videos"])


class Remix(Settings):
    """A request for a video with the settings, the seed and the files of another one."""

    prompt: str
    """What happens instead."""


@router.post(
    "",
    responses={200: {"headers": POLL}, **documented(409, 413, 429, 507)},
    openapi_extra=body_of(VideoCreate, files={"input_reference": "Images of the subject.", "files": "Other files."}),
)
async def create_video(request: Request, response: Response, server: Served, key: Key = None) -> Video:
    """Ask for a video.

    Files of a form are named by the request's fields, for instance subjects={"fox": {"images": ["a.png"]}} with the
    file a.png in the field files; those in the field input_reference need no name. JSON requests have data: URLs in
    place of file names. A request with the Idempotency-Key of an earlier one returns the video of that one.
    """
    body = await read_body(request, SCHEMA)
    return await run_in_threadpool(_create, body, key, server, response)


@router.post(
    "/{video_id}/remix",
    responses={200: {"headers": POLL}, **documented(409, 413, 429, 507)},
    openapi_extra=body_of(Remix),
)
async def remix_video(video_id: str, request: Request, response: Response, server: Served, key: Key = None) -> Video:
    """Ask for a video with another prompt and otherwise the settings, the seed and the files of an earlier one."""
    body = await read_body(request, Remix.model_json_schema())
    return await run_in_threadpool(_remix, video_id, body, key, server, response)


@router.get("")
def list_videos(server: Served, after: After = None, limit: Limit = 20, order: Order = "desc") -> VideoList:
    """The videos, in pages."""
    page = server.store.list(after=after, limit=limit, order=order)
    return VideoList(**page_of([video_of(job, server) for job in page.jobs], page.has_more))


@router.get("/{video_id}", responses={200: {"headers": POLL}})
def get_video(video_id: str, response: Response, server: Served) -> Video:
    """A video's status."""
    return _answer(server.store.get(video_id), server, response)


@router.delete("/{video_id}")
def delete_video(video_id: str, server: Served) -> Deleted:
    """Delete a video and its files; if it is in progress, the work stops."""
    return Deleted(id=server.store.delete(video_id).id, object="video.deleted")


@router.get(
    "/{video_id}/content",
    response_class=FileResponse,
    responses={200: {"content": {kind: {} for kind in TYPES.values()}, "description": "The file."}},
)
@router.head("/{video_id}/content", include_in_schema=False)
def get_content(
    video_id: str, server: Served, variant: Literal["video", "thumbnail", "spritesheet"] = "video"
) -> FileResponse:
    """The video, or an image of it. Supports range requests."""
    job = server.store.get(video_id)
    path = server.store.content(job, variant)
    name = f"{job.id}{path.suffix}" if variant == "video" else f"{job.id}-{variant}{path.suffix}"
    return FileResponse(
        path,
        media_type=TYPES[path.suffix.lower()],
        filename=name,
        content_disposition_type="inline",
        headers=_private(),
    )


@router.get(
    "/{video_id}/preview",
    response_class=FileResponse,
    responses={200: {"content": {"image/webp": {}}, "description": "The animated image."}},
)
def get_preview(video_id: str, server: Served) -> FileResponse:
    """What a video in progress looks like so far, an animated WebP image."""
    path = server.store.preview(server.store.get(video_id))
    if path is None:
        raise NotFoundError(f"{video_id}: has no preview")
    return FileResponse(path, media_type="image/webp", headers={"Cache-Control": "no-store"})


def _create(body: Body, key: str | None, server: Server, response: Response) -> Video:
    options = server.options
    require_model(body.values.get("model"), options.model)
    others = [upload.field for upload in body.uploads if upload.field not in PARTS]
    if others:
        raise UserError(f"{others[0]}: files must be in the fields {' or '.join(PARTS)}")
    named = [upload for upload in body.uploads if upload.field == "files"]
    row, characters = row_of(body.values, options.model)
    files = Files(named, options.allow_fetch, options.max_upload)
    row = with_files(row, files)
    files.require_all_used()
    given = [files.upload(upload, "image") for upload in body.uploads if upload.field == "input_reference"]
    if given:
        row["reference"] = [*given, *row.get("reference", ())]
    stored: dict[str, Any] = {**files.stored}
    for number, character in enumerate(map(server.store.characters.get, characters), start=1):
        values, paths = server.store.characters.subject(character)
        row["subjects"] = {**row.get("subjects", {}), subject_name(character, number): values}
        stored |= paths
    if row.get("reference") and row.get("subjects"):
        raise UserError("input_reference: is the image of a single subject; add it to subjects")
    return _answer(_accept(row, stored, key, server), server, response)


def _remix(video_id: str, body: Body, key: str | None, server: Server, response: Response) -> Video:
    remix = Remix.from_values(body.values)
    job = server.store.get(video_id)
    inputs = server.store.files.inputs(job.id)
    files = {path.name: path for path in inputs.iterdir()} if inputs.is_dir() else {}
    return _answer(_accept({**job.request, "prompt": remix.prompt}, files, key, server), server, response)


def _accept(row: dict[str, Any], files: dict[str, Any], key: str | None, server: Server) -> VideoJob:
    """Store a job. Its size and frames are written out, so that it does not depend on the server's defaults."""
    options = server.options
    request = options.model.check(row)
    row = {**row, "size": f"{request.width}x{request.height}", "frames": request.frames}
    return server.store.accept(row, files, model=options.model.name, key=key, max_queue=options.max_queue)


def _answer(job: VideoJob, server: Server, response: Response) -> Video:
    position = server.store.position(job.id) if job.status == "queued" else None
    if not job.is_final:
        response.headers["openai-poll-after-ms"] = poll_after(job, position, server.store)
    return video_of(job, server, position=position)


def _private() -> dict[str, str]:
    return {"Cache-Control": "private, max-age=3600"}
