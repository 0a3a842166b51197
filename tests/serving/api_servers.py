"""A server of the API for tests: the application in a thread, on a real socket. Its jobs wait until a worker runs."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from PIL import Image

from refilm.serving import ServedModel, ServerOptions, Store
from refilm.serving.api.app import create_app

TOKEN = "a secret"
SHORT: dict[str, Any] = {"prompt": "a critter bounces", "steps": 2, "frames": 9, "size": "32x32"}


@contextmanager
def application(folder: Path, **options: Any) -> Iterator[tuple[httpx.Client, Store]]:
    """A client of the application, and its store. Without a token if none is given."""
    with closing(Store(folder)) as store:
        given = replace(ServerOptions(ServedModel.of("pocket")), **options)
        server = uvicorn.Server(uvicorn.Config(create_app(store, given), port=0, log_level="critical"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            thread.join(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        headers = {} if given.token is None else {"Authorization": f"Bearer {given.token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            yield client, store
        server.should_exit = True
        thread.join()


def image(kind: str = "PNG", size: tuple[int, int] = (64, 64)) -> bytes:
    """An image file."""
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of an answer, which has the form of all errors and no traceback."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in response.text
    return error
