"""HTTP requests to servers that may misbehave: bounded in time, bytes and redirects. Does not know what is asked for.

`http.client` is used and not a client library: of those, none that refilm depends on bounds the time of a whole
answer, and a server that sends one byte a minute would block its caller for days.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Timer
from typing import BinaryIO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from refilm.errors import UserError
from refilm.printable import printable

REDIRECTS, REDIRECT = 3, (301, 302, 303, 307, 308)
SILENCE = 60.0  # seconds without a byte
CHUNK = 1 << 16  # bytes
URL = ":/?#[]@!$&'()*+,;=%"  # characters with a meaning in a URL (RFC 3986), which are not quoted


class UnreachableError(UserError):
    """The server cannot be used at all, so that asking for the next video is pointless."""


class BrokenError(UserError):
    """The connection broke, or the server has a fault: the same request may succeed later."""


@dataclass(frozen=True)
class Request:
    """A request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Response:
    """Status and headers of an answer."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""


def checked_url(url: str) -> str:
    """A URL without a slash at its end.

    Raises:
        UserError: it is not one of HTTP, or has a password, which would be written to results.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise UserError(f"{printable(url):.200}: is no address of a server; use http://HOST:PORT/v1/videos")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UserError("the server's address must not contain a user, a password, ? or #; it is written to results")
    return url.rstrip("/")


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent: by HTTPS, or to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def send(
    request: Request,
    into: BinaryIO,
    *,
    limit: int,
    deadline: float,
    require_permitted: Callable[[str], None] | None = None,
) -> Response:
    """Send a request, and write the body of its answer to a file; a GET follows redirects on the same server.

    Args:
        limit: maximum bytes of the body.
        deadline: when the answer must be complete, by `time.monotonic`.
        require_permitted: called with the IP address of each connection before anything is asked of it; it raises an
            error to refuse the address. A check of the name alone could see another address than the connection.

    Raises:
        UnreachableError: no connection.
        BrokenError: the connection broke, or the body is incomplete.
        UserError: the deadline passed, the body is too long, a redirect leads to another server, or there are too many;
            names what happened.
    """
    url = request.url
    for _ in range(REDIRECTS + 1):
        with _answer(replace(request, url=url), deadline, require_permitted) as response:
            if request.method != "GET" or response.status not in REDIRECT:
                _copy(response, into, limit)
                _left(deadline)  # a body without a length looks complete when the connection is closed
                return Response(response.status, {name.lower(): value for name, value in response.getheaders()})
            url = _same_server(url, response.getheader("location", ""))
    raise UserError(f"the server redirected more than {REDIRECTS} times")


def _same_server(url: str, location: str) -> str:
    location = quote(location, safe=URL, encoding="latin-1")  # as http.client decodes headers
    try:
        target = urljoin(url, location)
        same = urlsplit(target)[:2] == urlsplit(url)[:2]
    except ValueError:
        target, same = location, False
    if not same:
        raise UserError(f"the server redirects to {printable(target)!r:.200}, which is another server; not followed")
    return target


@contextmanager
def _answer(
    request: Request, deadline: float, require_permitted: Callable[[str], None] | None
) -> Iterator[HTTPResponse]:
    """The answer to one request; its body can be read within the context.

    Timeouts of sockets start again with every byte, so a timer closes the connection at the deadline.
    """
    parts = urlsplit(request.url)
    connection = _connected(parts, _left(deadline))
    closing = Timer(_left(deadline), _shut_down, (connection.sock,))
    closing.daemon = True
    closing.start()
    try:
        if require_permitted is not None:
            require_permitted(connection.sock.getpeername()[0])
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(request.method, target, request.body, dict(request.headers))
        yield connection.getresponse()
    except (OSError, HTTPException) as error:
        _left(deadline)
        raise BrokenError(f"the connection broke: {type(error).__name__}: {printable(str(error)):.200}") from error
    finally:
        closing.cancel()
        connection.close()


def _connected(parts: SplitResult, seconds: float) -> HTTPConnection:
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    assert parts.hostname is not None
    connection = kind(parts.hostname, parts.port, timeout=min(seconds, SILENCE))
    try:
        connection.connect()
    except (OSError, UnicodeError) as error:
        raise UnreachableError(
            f"{parts.scheme}://{parts.netloc}: no connection ({error}); check the address, and that the server runs"
        ) from error
    return connection


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # closed meanwhile
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not that of TLS, which is not safe in another thread


def _left(deadline: float) -> float:
    """Seconds until a deadline.

    Raises:
        UserError: it has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise UserError("the server did not answer in time")
    return left


def _copy(response: HTTPResponse, into: BinaryIO, limit: int) -> None:
    """Write a body to a file, and check that it is complete."""
    declared, received = response.length, 0
    while part := response.read1(CHUNK):
        received += len(part)
        if received > limit:
            raise UserError(f"the server's answer has more than {limit:,} bytes")
        into.write(part)
    if declared is not None and received < declared:
        raise BrokenError(f"the server's answer ended after {received:,} of {declared:,} bytes")
