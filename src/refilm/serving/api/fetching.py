"""Images that a request gives as URLs: data: URLs, and http(s) URLs of hosts that the server was started with."""

import base64
import binascii
import ipaddress
from collections.abc import Sequence
from io import BytesIO
from urllib.parse import unquote_to_bytes, urlsplit

from refilm.bounded_http import Request, send
from refilm.errors import UserError
from refilm.printable import printable

PORTS = {"http": 80, "https": 443}


def is_url(text: str) -> bool:
    """Whether a text is meant as a URL and not as the name of a file."""
    return text[:5].lower() == "data:" or "://" in text[:20]


def fetched(url: str, allowed: Sequence[str], *, limit: int, deadline: float) -> bytes:
    """The content of a URL.

    A host must be among the allowed ones, and its address public: a name can point to a machine of the server's own
    network. An address that is itself among the allowed hosts may be private.

    Args:
        url: the URL.
        allowed: hosts, with a port if it is not the default one.
        limit: maximum bytes.
        deadline: when the content must be complete, by `time.monotonic`.

    Raises:
        UserError: it cannot be read, or may not be.
    """
    if url[:5].lower() == "data:":
        return _data(url)
    shown = f"{printable(url):.100}"
    host = _host(url)
    if host is None or host not in {name.lower() for name in allowed}:
        raise UserError(f"{shown}: URLs of this host are not fetched; upload the file, or send it as a data: URL")

    def require_permitted(address: str) -> None:
        own = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(own, "ipv4_mapped", None) or own
        if not mapped.is_global and urlsplit(url).hostname != str(own):
            raise UserError(f"{shown}: leads to a private address; not fetched")

    content = BytesIO()
    try:
        response = send(
            Request("GET", url, {"User-Agent": "refilm"}),
            content,
            limit=limit,
            deadline=deadline,
            require_permitted=require_permitted,
        )
    except UserError as error:
        raise UserError(f"{shown}: could not be fetched: {error}") from error
    if response.status != 200:
        raise UserError(f"{shown}: could not be fetched: status {response.status}")
    return content.getvalue()


def _host(url: str) -> str | None:
    """The host of an http(s) URL in lower case, with its port if it is not the default one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None or not url.isascii():
        return None
    if any(character.isspace() or not character.isprintable() for character in url):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if port in (None, PORTS[parts.scheme]) else f"{host}:{port}"


def _data(url: str) -> bytes:
    head, comma, content = url.partition(",")
    if not comma:
        raise UserError(f"{head:.40}: is no data: URL; write data:image/png;base64,...")
    try:
        raw = unquote_to_bytes(content)
        return base64.b64decode(raw, validate=True) if head.lower().endswith(";base64") else raw
    except (binascii.Error, UnicodeEncodeError) as error:
        raise UserError(f"{head:.40}: its content is not valid base64") from error
