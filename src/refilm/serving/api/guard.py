"""Who may use the server: the token, requests that other sites make a browser send, and the size of requests.

The guard sees every request before any route does. Plain ASGI, so that nothing is buffered and streams end when their
client leaves.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

import anyio
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refilm.serving.api.errors import RefusedError, failure
from refilm.serving.api.headers import PAGE, SECURITY

COOKIE = "refilm_session"
PUBLIC = ("/health", "/login")
SAFE = ("GET", "HEAD", "OPTIONS")
DRAIN = 5.0  # seconds in which the rest of a refused body is read, so that the client reads the answer


class Guard:
    """Middleware that refuses requests.

    Args:
        app: what answers the others.
        token: required of every request except those to /health and /login. None: no token.
        max_upload: most bytes of a request's body.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, max_upload: int):
        self.app, self.token, self.max_upload = app, token, max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is None:
            return await self.app(scope, _bounded(receive, self.max_upload), _protected(send))
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if refusal.status_code == 413:
            await _drain(receive, self.max_upload)
        await refusal(scope, receive, _protected(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self.token is None and _is_loopback(_local(scope)) and not _is_loopback(_name(headers.get("host", ""))):
            return failure(421, "the server has no token and answers only to names of this machine, such as localhost")
        bearer = self.token is not None and _is_bearer(headers.get("authorization", ""), self.token)
        if not bearer and _is_unsafe(scope) and not _is_same_origin(headers):
            return failure(403, "the request was made by another site; use the server's own page, or a token")
        if not (bearer or self.token is None or scope["path"] in PUBLIC or _has_session(headers, self.token)):
            return _without_token(scope, headers)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self.max_upload:
            return failure(413, _too_large(self.max_upload))
        return None


def session_of(token: str) -> str:
    """The value of the cookie: shows that its owner knew the token, but not the token."""
    return hmac.new(token.encode(), COOKIE.encode(), hashlib.sha256).hexdigest()


def same(given: str, wanted: str) -> bool:
    """Compare secrets in a time that depends on neither of them."""
    hashes = (hashlib.sha256(text.encode(errors="surrogateescape")).digest() for text in (given, wanted))
    return hmac.compare_digest(*hashes)


def _is_bearer(authorization: str, token: str) -> bool:
    kind, _, given = authorization.partition(" ")
    return kind.lower() == "bearer" and same(_utf8(given.strip()), token)


def _utf8(header: str) -> str:
    """A header's value, which is decoded as Latin-1, as the UTF-8 that clients send."""
    return header.encode("latin-1").decode(errors="surrogateescape")


def _has_session(headers: Headers, token: str) -> bool:
    return same(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""), session_of(token))


def _is_unsafe(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in SAFE


def _is_same_origin(headers: Headers) -> bool:
    """Whether a request comes from no page of another site; clients that are no browsers send neither header."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:
        return False


def _local(scope: Scope) -> str:
    """The address on which the server received the request."""
    return (scope.get("server") or ("", None))[0]


def _name(host: str) -> str:
    """The Host header without its port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _without_token(scope: Scope, headers: Headers) -> Response:
    if scope.get("method") == "GET" and "text/html" in headers.get("accept", ""):
        return RedirectResponse("/login", 303)
    message = "the token is missing or wrong; send it as Authorization: Bearer TOKEN"
    return failure(401, message, headers={"WWW-Authenticate": "Bearer"})


def _too_large(limit: int) -> str:
    return f"the request has more than {limit:,} bytes; send smaller files, or start the server with --max-upload"


def _bounded(receive: Receive, limit: int) -> Receive:
    """Receive a body, which fails when it becomes too long, whatever its headers say."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            await _drain(receive, limit)
            raise RefusedError(413, _too_large(limit))
        return message

    return bounded


async def _drain(receive: Receive, limit: int) -> None:
    with anyio.move_on_after(DRAIN):
        while limit > 0:
            message = await receive()
            limit -= len(message.get("body", b""))
            if not message.get("more_body"):
                return


def _protected(send: Send) -> Send:
    """Add the headers that an answer does not have itself."""

    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            page = headers.get("content-type", "").startswith("text/html")
            for name, value in _security(page):
                headers.setdefault(name, value)
        await send(message)

    return protected


def _security(page: bool) -> Iterable[tuple[str, str]]:
    return (SECURITY | ({"Content-Security-Policy": PAGE} if page else {})).items()
