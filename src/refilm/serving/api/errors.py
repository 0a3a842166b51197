"""Every error of the API as `{"error": {message, type, param, code}}`, whatever raised it."""

import errno
import math
import re
from collections.abc import Mapping
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from refilm.errors import UserError
from refilm.printable import printable
from refilm.serving import Store
from refilm.serving.api.fields import NAMES, UNKNOWN
from refilm.serving.api.headers import SECURITY
from refilm.serving.errors import IdempotencyConflictError, NotFoundError, QueueFullError

LONGEST = 1000  # characters of a message
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PARAM = re.compile(r"([a-z][a-z_]*)(?:[.:]|\[)")
CODES = {
    400: "invalid_request",
    401: "invalid_token",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "idempotency_conflict",
    413: "request_too_large",
    421: "wrong_host",
    429: "queue_full",
    500: "internal",
    507: "disk_full",
}
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Problem(BaseModel):
    """What is wrong with a request, or with the server."""

    message: str
    """One line for the user."""
    type: str
    """invalid_request_error, authentication_error, permission_error, not_found_error, rate_limit_error or
    server_error."""
    param: str | None
    """The field that is wrong."""
    code: str
    """A short name that programs can compare."""


class Failure(BaseModel):
    """The body of every answer that is an error."""

    error: Problem


class RefusedError(Exception):
    """A request that is refused with a status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def failure(
    status: int, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An answer that is an error."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    code = CODES.get(status, "invalid_request" if status < 500 else "internal")
    problem = Problem(message=printable(message)[:LONGEST], type=kind, param=param, code=code)
    return JSONResponse({"error": problem.model_dump()}, status, {**SECURITY, **(headers or {})})


def add_error_handlers(app: FastAPI, store: Store) -> None:
    """Give all errors of an application the same form. Only unknown errors are logged, with their traceback."""

    def refused(_: Request, error: RefusedError) -> JSONResponse:
        return failure(error.status, str(error))

    def of_user(_: Request, error: UserError) -> JSONResponse:
        headers = {"Retry-After": _retry_after(store)} if isinstance(error, QueueFullError) else None
        return failure(_status(error), str(error), param=_param(str(error)), headers=headers)

    def of_system(_: Request, error: OSError) -> JSONResponse:
        if error.errno not in FULL:
            raise error
        return failure(507, "the disk is full; delete videos, or try again later")

    def of_http(_: Request, error: HTTPException) -> JSONResponse:
        return failure(error.status_code, str(error.detail), headers=error.headers)

    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"][1:])) or None
        return failure(400, f"{param or 'request'}: {first['msg']}", param=param)

    def left(_: Request, error: ClientDisconnect) -> JSONResponse:
        return failure(400, "the connection was closed before the end of the request")

    def unknown(_: Request, error: Exception) -> JSONResponse:
        return failure(500, "the server made an error; its log has the details")

    handlers = (
        (RefusedError, refused),
        (UserError, of_user),
        (OSError, of_system),
        (HTTPException, of_http),
        (RequestValidationError, invalid),
        (ClientDisconnect, left),
        (Exception, unknown),
    )
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)  # pyright: ignore[reportArgumentType]


def documented(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The errors of a route for the OpenAPI document."""
    return {status: {"model": Failure, "description": CODES[status].replace("_", " ")} for status in statuses}


def _status(error: UserError) -> Literal[400, 404, 409, 429]:
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, IdempotencyConflictError):
        return 409
    return 429 if isinstance(error, QueueFullError) else 400


def _param(message: str) -> str | None:
    """The field that a message begins with."""
    found = PARAM.match(message)
    return found[1] if found and (found[1] in NAMES or UNKNOWN in message) else None


def _retry_after(store: Store) -> str:
    """Seconds until a place in the queue is likely to be free."""
    return str(min(600, max(1, math.ceil(store.mean_seconds() or 10))))
