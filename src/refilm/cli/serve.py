"""`refilm serve`: a page and an API for videos, with one worker process for each GPU."""

import ipaddress
import json
import os
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field

from refilm.cli.batch import Options
from refilm.cli.console import print_error, print_line, working
from refilm.cli.options import with_options
from refilm.errors import UserError
from refilm.settings import Settings

if TYPE_CHECKING:
    from refilm.serving import Store
    from refilm.serving.supervisor import Supervisor

GIGABYTE, MEGABYTE = 1 << 30, 1 << 20
CLOSING = 5  # seconds that open connections have when the server stops


class Listening(Settings):
    """Where the server listens, and who may use it."""

    store: Annotated[Path, typer.Option(metavar="FOLDER")] = Path("refilm-videos")
    """Folder with the jobs and their videos; several servers of a machine can share it."""
    host: str = "127.0.0.1"
    """Address to listen on. Other addresses than those of this machine itself need --token or --insecure."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    token: Annotated[str | None, typer.Option(envvar="REFILM_TOKEN", show_envvar=True)] = None
    """Token that every request must have. Default: none."""
    insecure: bool = False
    """Allow everyone who can reach the address to use the server without a token."""
    train: Annotated[Path | None, typer.Option(metavar="FOLDER")] = None
    """Folder with recipes that the page may train. Default: the page does not train."""
    allow_fetch: Annotated[tuple[str, ...], typer.Option(metavar="HOST")] = ()
    """Host from which the server may download references that a request gives as URLs. Repeat it for more hosts.
    Default: URLs are refused."""


class Limits(Settings):
    """What the server accepts and keeps."""

    max_queue: int = Field(default=100, ge=1, le=100_000)
    """Most videos that wait; further requests are refused until a worker takes one."""
    max_upload: int = Field(default=50, ge=1, le=10_000)
    """Largest request in megabytes."""
    max_size: float = Field(default=16, ge=1, le=10_000)
    """Most pixels of all frames of a video, as a multiple of the base model's default video."""
    keep_days: float | None = Field(default=None, gt=0, le=36500)
    """Days after which a video is deleted. Default: never because of its age."""
    keep_gb: float | None = Field(default=None, gt=0, le=10**6)
    """Gigabytes of videos above which the oldest are deleted. Default: no limit."""
    workers: int | None = Field(default=None, ge=1, le=64)
    """Number of processes that make videos, each with the model in memory. Default: one for each GPU, or one on the
    CPU."""
    save_state_seconds: float = Field(default=20, ge=0, le=86400)
    """Seconds after which the state of a video in progress is saved again, from which it is continued if its worker is
    killed; 0 saves it after every step."""


@with_options(Listening, Limits, Options)
def serve(listening: Listening, limits: Limits, model: Options) -> None:
    """Serve a page and an API that generate videos.

    Jobs survive every crash: a video in progress is continued after a restart, and is the same in the end.
    """
    _require_safe(listening)
    with working("loading"):
        try:
            import uvicorn

            from refilm.serving.api.app import create_app
            from refilm.serving.page import mount_page
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "refilm":
                raise
            raise UserError(f"{error.name}: is not installed; run: pip install 'refilm[serve]'") from error
        from refilm.serving import ServedModel, ServerOptions, Store
        from refilm.serving.supervisor import Supervisor

        options = ServerOptions(
            ServedModel.of(model.base, model.adapter, largest=limits.max_size),
            token=listening.token,
            max_queue=limits.max_queue,
            max_upload=limits.max_upload * MEGABYTE,
            allow_fetch=listening.allow_fetch,
        )
    keep_bytes = None if limits.keep_gb is None else int(limits.keep_gb * GIGABYTE)
    store = Store(listening.store, keep_days=limits.keep_days, keep_bytes=keep_bytes)
    with closing(store), closing(_bound(listening)) as bound:
        supervisor = Supervisor(store, _commands(store, limits, model))
        app = create_app(store, options)
        mount_page(app, store, options, train=listening.train)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=CLOSING)
        print_line(_address(bound))
        _run(supervisor, uvicorn.Server(config), bound)


def _run(supervisor: "Supervisor", server: Any, bound: socket.socket) -> None:
    supervisor.start()
    try:
        server.run(sockets=[bound])
    finally:
        supervisor.stop()


def _require_safe(listening: Listening) -> None:
    """Refuse an open address without a token, unless that is wanted."""
    if _is_local(listening.host) or listening.token:
        return
    if not listening.insecure:
        raise UserError(
            f"--host {listening.host}: is reachable from other machines; give --token, or --insecure to allow everyone "
            "to use the server"
        )
    print_error(
        f"WARNING: everyone who can reach {listening.host}:{listening.port} can use this server, see and delete its "
        "videos"
    )


def _is_local(host: str) -> bool:
    """Whether an address is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bound(listening: Listening) -> socket.socket:
    """The socket to listen on.

    Raises:
        UserError: the address is no address of this machine, or the port is in use.
    """
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        return socket.create_server((listening.host, listening.port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{listening.host}:{listening.port}: {reason}; choose another --port or --host") from error


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _commands(store: "Store", limits: Limits, model: Options) -> list[list[str]]:
    """The command of each worker."""
    values = model.model_dump(exclude_none=True) | {"store": str(store.folder), "parent": os.getpid()}
    values["save_state_every"] = limits.save_state_seconds
    devices = _devices(model.device, limits.workers)
    each = [values if device is None else values | {"device": device} for device in devices]
    return [[sys.executable, "-m", "refilm.cli.serve_worker", json.dumps(one)] for one in each]


def _devices(device: str | None, workers: int | None) -> list[str | None]:
    """The device of each worker; None is the default one."""
    import torch

    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    known = gpus if device in (None, "cuda") and gpus else [device]
    return [known[number % len(known)] for number in range(workers or len(known))]
