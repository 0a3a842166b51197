"""The application of `refilm serve`: the routes of the API behind the guard. A page can be mounted beside them."""

from importlib.metadata import version

from fastapi import FastAPI

from refilm.serving import ServerOptions, Store
from refilm.serving.api import characters, events, login, status, videos
from refilm.serving.api.errors import add_error_handlers, documented
from refilm.serving.api.guard import Guard
from refilm.serving.api.openapi import add_openapi
from refilm.serving.api.server import Server


def create_app(store: Store, options: ServerOptions) -> FastAPI:
    """The application for a store. Workers are started elsewhere.

    Args:
        store: the jobs.
        options: the model, the token and the limits.
    """
    errors = documented(400, 401, 403, 404, 421, 500) if options.token else documented(400, 403, 404, 421, 500)
    app = FastAPI(
        title="refilm",
        version=version("refilm"),
        description="Videos in which the subject of a reference image follows a prompt.",
        docs_url=None,  # FastAPI's pages load scripts from other servers
        redoc_url=None,
        responses=errors,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.server = Server(store, options)
    for router in (characters.router, events.router, videos.router, status.router, login.router):
        app.include_router(router)
    add_error_handlers(app, store)
    add_openapi(app, token=options.token is not None)
    app.add_middleware(Guard, token=options.token, max_upload=options.max_upload)
    return app
