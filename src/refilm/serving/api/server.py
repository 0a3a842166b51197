"""What all routes share."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from refilm.serving import ServerOptions, Store


@dataclass(frozen=True)
class Server:
    """The store, and how the server was started."""

    store: Store
    options: ServerOptions


async def _server(request: Request) -> Server:
    return request.app.state.server


Served = Annotated[Server, Depends(_server)]
"""A route's argument."""
