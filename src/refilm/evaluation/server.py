"""Videos of a server that has the API of OpenAI's videos (`POST /v1/videos`): refilm's, vLLM-Omni, SGLang and others.

A case is created, polled until it is completed, and its content is downloaded. What goes wrong is the case's error.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeVar

from refilm.bounded_http import BrokenError, Request, Response, UnreachableError, checked_url, is_private, send
from refilm.errors import UserError
from refilm.evaluation.answer import Answer
from refilm.evaluation.case import Case, Control
from refilm.evaluation.result import Source
from refilm.files import atomic_file, read_json, write_json
from refilm.media import open_image
from refilm.media.containers import recognize
from refilm.printable import printable

TOKEN = "REFILM_SERVER_TOKEN"
"""Environment variable with the server's token. No other program uses it, so no other server gets the token."""
SECONDS = 3600.0
PATIENCE = 60.0
"""Seconds for which a server that was asked for a video may be away, for instance because it is started again."""
MAX_JSON, MAX_VIDEO = 1 << 20, 1 << 30  # bytes
POLL, SHORTEST, LONGEST = 1.0, 0.05, 60.0  # seconds between questions
BUSY, REFUSED = (429, 503), (401, 404, 405)
Found = TypeVar("Found")
IDS = re.compile(r"[A-Za-z0-9][\w.:-]{0,199}", re.ASCII)


@dataclass(frozen=True)
class _Body:
    """The body of a creation."""

    content: bytes
    kind: str
    identity: str
    """Hash of everything that is asked for."""


class Server:
    """A source of videos: a server.

    Videos that it has already made for the same request are not asked for again, and one that it was asked for before
    this process was killed is waited for. Failed ones are asked for again.

    Args:
        url: where videos are created, such as http://127.0.0.1:8000/v1/videos.
        fields: more fields of each request, such as model, size and seconds.
        seeds: whether to send the case's seed, an extension that OpenAI's own server refuses.
        seconds: the time that each video may take.

    Raises:
        UserError: the address or a field is invalid, or `REFILM_SERVER_TOKEN` is set and would be sent unencrypted.
    """

    controls: ClassVar[Sequence[Control]] = ("right", "wrong", "none")
    """There is no reference scale in the API."""
    masks = False

    def __init__(
        self,
        url: str,
        *,
        fields: Mapping[str, str | int | float] | None = None,
        seeds: bool = True,
        seconds: float = SECONDS,
    ):
        self.url, self.fields, self.seeds, self.seconds = checked_url(url), dict(fields or {}), seeds, seconds
        self._token = os.environ.get(TOKEN, "")
        if self._token and not (self._token.isascii() and self._token.isprintable()):
            raise UserError(f"{TOKEN}: must be printable ASCII characters; set it again")
        if self._token and not is_private(self.url):
            raise UserError(f"{self.url}: would get {TOKEN} unencrypted; use https, or unset {TOKEN}")
        self.record()  # which refuses fields that no result could name

    def record(self) -> Source:
        """The address and the fields, without the token."""
        fields = {f"field {name}": value for name, value in self.fields.items()}
        reference = "the first image of a case"
        return Source.of(
            kind="server", details={"address": self.url, "seeds": self.seeds, "reference": reference, **fields}
        )

    def answers(self, cases: Sequence[Case], out: Path) -> Iterator[Answer]:
        """Ask for one video after the other.

        Raises:
            UserError: no connection, or the server refuses the token or has no videos at this address.
            OSError: a file cannot be written.
        """
        out.mkdir(parents=True, exist_ok=True)
        for case in cases:
            try:
                yield Answer(case, self._video(case, out))
            except UnreachableError as error:
                raise UnreachableError(self._without_token(str(error))) from None
            except UserError as error:
                yield Answer(case, error=self._without_token(str(error)))

    def _video(self, case: Case, out: Path) -> Path:
        file, record = out / f"{case.name}.mp4", out / f"{case.name}.request.json"
        body = self._body(case)
        known = _known(record, body)
        if known is not None and file.is_file() and not file.is_symlink():
            return file
        file.unlink(missing_ok=True)
        deadline = time.monotonic() + self.seconds
        name = known or self._create(body, deadline)
        write_json(record, {"request": body.identity, "id": name})
        try:
            self._wait(name, deadline)
            _patiently(lambda: self._download(name, file, deadline), deadline)
        except (BrokenError, UnreachableError):  # the server may still have the video, which the next run asks for
            raise
        except UserError:
            if time.monotonic() < deadline:  # otherwise it is still being made, and waited for again in the next run
                record.unlink()
            raise
        return file

    def _body(self, case: Case) -> _Body:
        """JSON without a reference, a form with one, as OpenAI's clients send them."""
        fields = {"prompt": case.prompt, **({"seed": case.seed} if self.seeds else {}), **self.fields}
        text = json.dumps(fields, sort_keys=True).encode()
        if not case.reference:
            return _Body(text, "application/json", _identity(self.url, text))
        image = BytesIO()
        open_image(case.reference[0]).save(image, "PNG")
        return _Body(*form(fields, image.getvalue()), _identity(self.url, text, image.getvalue()))

    def _create(self, body: _Body, deadline: float) -> str:
        headers = {"Content-Type": body.kind}
        return _id_of(self._json(Request("POST", self.url, headers, body.content), deadline)[1])

    def _wait(self, name: str, deadline: float) -> None:
        """Wait until a video is completed.

        Raises:
            UserError: it failed, or the deadline passed.
        """
        question = Request("GET", f"{self.url}/{name}")
        while True:
            response, job = _patiently(lambda: self._json(question, deadline), deadline)
            status = job.get("status")
            if status == "completed":
                return
            if status not in ("queued", "in_progress"):
                raise UserError(f"the server's status is {_short(status)}: {_short(_message(job))}")
            _pause(_milliseconds(response, "openai-poll-after-ms"), deadline)

    def _download(self, name: str, file: Path, deadline: float) -> None:
        with atomic_file(file) as temporary:
            with temporary.open("wb") as into:
                request = Request("GET", f"{self.url}/{name}/content")
                status = self._send(request, into, limit=MAX_VIDEO, deadline=deadline).status
            if status != 200:
                fault = BrokenError if status >= 500 else UserError
                raise fault(f"the server answered with status {status} instead of the video")
            try:
                recognize(temporary)
            except UserError as error:
                reason = str(error).removeprefix(f"{temporary}: ").partition(";")[0]
                raise UserError(f"the server's content: {reason}") from error

    def _json(self, request: Request, deadline: float) -> tuple[Response, dict[str, Any]]:
        """The object that a request is answered with; waits while the server is busy."""
        while True:
            content = BytesIO()
            response = self._send(request, content, limit=MAX_JSON, deadline=deadline)
            if response.status not in BUSY:
                break
            _pause(_milliseconds(response, "retry-after", factor=1000), deadline)
        answer = _object(content.getvalue())
        if response.status in REFUSED and request.method == "POST":
            fix = f"set {TOKEN}" if response.status == 401 else "check the address"
            raise UnreachableError(f"{self.url}: status {response.status}: {_short(_message(answer or {}))}; {fix}")
        if not 200 <= response.status < 300:
            fault = BrokenError if response.status >= 500 else UserError
            raise fault(f"the server answered with status {response.status}: {_short(_message(answer or {}))}")
        if answer is None:
            raise UserError(f"the server answered with {_short(content.getvalue()[:40])} instead of a JSON object")
        return response, answer

    def _send(self, request: Request, into: BinaryIO, *, limit: int, deadline: float) -> Response:
        if self._token:
            request = replace(request, headers={**request.headers, "Authorization": f"Bearer {self._token}"})
        return send(request, into, limit=limit, deadline=deadline)

    def _without_token(self, text: str) -> str:
        return text.replace(self._token, "TOKEN") if self._token else text


def _patiently(ask: Callable[[], Found], deadline: float) -> Found:
    """What a question about a video that is being made is answered with; it is asked again after a broken connection.

    Creations are not: the server may have received them.
    """
    until = min(deadline, time.monotonic() + PATIENCE)
    while True:
        try:
            return ask()
        except (BrokenError, UnreachableError):
            if time.monotonic() >= until:
                raise
            time.sleep(min(POLL, max(0.0, until - time.monotonic())))


def form(fields: Mapping[str, Any], image: bytes) -> tuple[bytes, str]:
    """A multipart form (RFC 7578) with some fields and an `input_reference`, and its content type."""
    boundary = secrets.token_hex(16)
    disposition = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [f'{disposition}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    head = f'{disposition}"input_reference"; filename="reference.png"\r\nContent-Type: image/png\r\n\r\n'
    end = f"\r\n--{boundary}--\r\n"
    return b"".join((*parts, head.encode(), image, end.encode())), f"multipart/form-data; boundary={boundary}"


def _known(record: Path, body: _Body) -> str | None:
    """The server's name of a video that it was asked for in an earlier run, if the request was the same."""
    if not record.is_file():
        return None
    try:
        known = read_json(record)
    except UserError:  # written by another program
        return None
    return known["id"] if known.get("request") == body.identity and IDS.fullmatch(str(known.get("id"))) else None


def _identity(*parts: str | bytes) -> str:
    hashes = (hashlib.sha256(part if isinstance(part, bytes) else part.encode()).digest() for part in parts)
    return hashlib.sha256(b"".join(hashes)).hexdigest()


def _id_of(job: Mapping[str, Any]) -> str:
    name = job.get("id")
    if not isinstance(name, str) or not IDS.fullmatch(name):
        raise UserError(f"the server's id {_short(name)} is not 1 to 200 letters, digits, _, -, . or :")
    return name


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _message(job: Mapping[str, Any]) -> Any:
    """What the server says about an error."""
    error = job.get("error")
    return error.get("message", error) if isinstance(error, dict) else error or "no message"


def _short(value: Any) -> str:
    """A value of an untrusted server, on one line."""
    return printable(value if isinstance(value, str) else repr(value))[:200]


def _milliseconds(response: Response, header: str, *, factor: float = 1) -> float:
    """Seconds that a server asks to wait."""
    try:
        return float(response.headers[header]) * factor / 1000
    except (KeyError, ValueError):
        return POLL


def _pause(seconds: float, deadline: float) -> None:
    """Wait, at least and at most a reasonable time. NaN counts as the least."""
    if time.monotonic() >= deadline:
        raise UserError("the video was not completed in time")
    wanted = min(max(SHORTEST, seconds), LONGEST)
    time.sleep(max(0.0, min(wanted, deadline - time.monotonic())))
