"""Servers for the tests of the API: `refilm serve` with its worker, and the application alone, whose jobs only wait."""

import subprocess
import sys
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
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SHORT: dict[str, Any] = {"prompt": "a critter bounces", "steps": 2, "frames": 9}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of `refilm serve` with one worker."""
    command = [sys.executable, "-m", "refilm.cli", "serve", "--store", str(folder), "--port", "0", "--token", TOKEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def application(folder: Path, **options: Any) -> Iterator[tuple[httpx.Client, Store]]:
    """A client of the application without workers, in this process, and the store. It has no token if none is given."""
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
