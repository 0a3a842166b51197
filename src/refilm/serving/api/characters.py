"""The routes of characters: subjects that requests name by an id."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from refilm.errors import UserError
from refilm.serving.api.body import Body, read_body
from refilm.serving.api.errors import documented
from refilm.serving.api.fields import ImageUrl
from refilm.serving.api.files import Files
from refilm.serving.api.objects import CharacterList, CharacterObject, Deleted, character_of, page_of
from refilm.serving.api.openapi import body_of
from refilm.serving.api.server import Served, Server
from refilm.serving.api.videos import After, Limit, Order
from refilm.serving.characters import SUFFIX
from refilm.settings import Settings

PARTS = ("images", "file", "video")
router = APIRouter(prefix="/v1/videos/characters", tags=["characters"])


class CharacterCreate(Settings):
    """A request for a character."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """What the character is called."""
    words: str | Annotated[tuple[str, ...], Field(max_length=16)] | None = None
    """Words of a prompt that mean it ("fox")."""
    images: str | ImageUrl | Annotated[tuple[str | ImageUrl, ...], Field(max_length=64)] | None = None
    """Images of the character as data: URLs; or as files of a form."""


@router.post(
    "",
    responses=documented(413, 507),
    openapi_extra=body_of(
        CharacterCreate,
        files={"images": "Images of the character.", "file": "A subject file.", "video": "The same as images or file."},
    ),
)
async def create_character(request: Request, server: Served) -> CharacterObject:
    """Create a character from images, or from a subject file."""
    body = await read_body(request, CharacterCreate.model_json_schema())
    return await run_in_threadpool(_create, body, server)


@router.get("")
def list_characters(server: Served, after: After = None, limit: Limit = 20, order: Order = "desc") -> CharacterList:
    """The characters, in pages."""
    found, has_more = server.store.characters.list(after=after, limit=limit, order=order)
    return CharacterList(**page_of([character_of(one) for one in found], has_more))


@router.get("/{character_id}")
def get_character(character_id: str, server: Served) -> CharacterObject:
    """A character."""
    return character_of(server.store.characters.get(character_id))


@router.delete("/{character_id}")
def delete_character(character_id: str, server: Served) -> Deleted:
    """Delete a character. Videos that were asked for with it are made nevertheless."""
    return Deleted(id=server.store.characters.delete(character_id).id, object="character.deleted")


def _create(body: Body, server: Server) -> CharacterObject:
    values = CharacterCreate.from_values({name: value for name, value in body.values.items() if value is not None})
    files = Files((), server.options.allow_fetch, server.options.max_upload)
    for upload in body.uploads:
        if upload.field not in PARTS:
            raise UserError(f"{upload.field}: files must be in the fields images or file")
        is_subject = upload.field == "file" or upload.name.endswith(SUFFIX)
        if upload.content[4:8] == b"ftyp":
            raise UserError(f"{upload.field}: is a video; upload images of the character, or a subject file")
        files.upload(upload, "subject" if is_subject else "image")
    given: Any = body.values.get("images") or []
    for image in given if isinstance(given, list) else [given]:
        files.take(image, "image")
    words = (values.words,) if isinstance(values.words, str) else values.words or ()
    return character_of(server.store.characters.create(values.name, files.stored, words=words))
