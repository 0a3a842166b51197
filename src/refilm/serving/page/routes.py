"""Files that the page shows and the API does not have: images of subjects, recipes, heat maps, sample videos."""

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from refilm.generation.recipe import recipe_path
from refilm.serving.errors import NotFoundError
from refilm.serving.page.heat_maps import map_of
from refilm.serving.store import Store

PRIVATE = {"Cache-Control": "private, max-age=3600"}


def router(store: Store, sample: Callable[[str, str], Path] | None) -> APIRouter:
    """The routes.

    Args:
        store: has the files.
        sample: the path of a sample video by the names of its run and its file; None: nothing is trained here.
    """
    routes = APIRouter(prefix="/page", include_in_schema=False)

    @routes.get("/characters/{character}/{name}")
    def image(character: str, name: str) -> FileResponse:
        paths = store.characters.paths(store.characters.get(character))
        if name not in paths or name.endswith(".subject"):
            raise NotFoundError(f"{character}: no such image")
        return FileResponse(paths[name], headers=PRIVATE)

    @routes.get("/recipes/{video}")
    def recipe(video: str) -> FileResponse:
        return FileResponse(recipe_path(store.content(store.get(video))), media_type="application/json")

    @routes.get("/maps/{video}/{name}")
    def heat_map(video: str, name: str) -> FileResponse:
        return FileResponse(map_of(store, store.get(video), name), media_type="video/mp4", headers=PRIVATE)

    @routes.get("/samples/{run}/{name}")
    def sample_video(run: str, name: str) -> FileResponse:
        if sample is None:
            raise NotFoundError("this server does not train")
        return FileResponse(sample(run, name), media_type="video/mp4", headers=PRIVATE)

    return routes
