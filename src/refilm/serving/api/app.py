"""The application of `refilm serve`: the routes of the API behind the guard. A page can be mounted beside them."""

from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from refilm.serving import ServerOptions, Store
from refilm.serving.api import characters, events, login, status, videos
from refilm.serving.api.errors import add_error_handlers, documented, failure
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
    routers = (characters.router, events.router, videos.router, status.router, login.router)
    for router in routers:
        app.include_router(router)
    _refuse_the_rest(app, [route for router in routers for route in router.routes])
    add_error_handlers(app, store)
    add_openapi(app, token=options.token is not None)
    app.add_middleware(Guard, token=options.token, max_upload=options.max_upload)
    return app


def _refuse_the_rest(app: FastAPI, routes: Iterable[BaseRoute]) -> None:
    """Refuse other methods and paths of the API here; otherwise they would reach a page that is mounted beside it."""
    allowed: dict[str, set[str]] = defaultdict(set)
    for route in routes:
        if isinstance(route, Route):
            allowed[route.path] |= route.methods or set()

    for path, methods in allowed.items():
        refusal = failure(405, "the path does not have this method", headers={"Allow": ", ".join(sorted(methods))})
        app.routes.append(Route(path, refusal, include_in_schema=False))  # of any method
    refusal = failure(404, "there is no such path; /openapi.json describes all")
    app.routes.append(Route("/v1/{path:path}", refusal, include_in_schema=False))
