"""The files that a request names: uploads and URLs become files with names of the server's own choice."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from refilm.errors import UserError
from refilm.printable import printable
from refilm.serving.api.body import Upload
from refilm.serving.api.fetching import fetched, is_url
from refilm.serving.api.images import Checks, Kind

SECONDS = 20.0  # for all URLs of a request
OF_SUBJECT: Mapping[str, Kind] = {"images": "image", "image_masks": "image", "mask": "mask", "file": "subject"}


class Files:
    """Collects the files of one request.

    Args:
        uploads: the files that were uploaded under their names.
        allow_fetch: hosts of URLs.
        limit: maximum bytes of what is fetched.
    """

    def __init__(self, uploads: Sequence[Upload], allow_fetch: Sequence[str], limit: int):
        self.stored: dict[str, bytes] = {}
        """The files by their new names."""
        self._uploads = {upload.name: upload.content for upload in uploads}
        if len(self._uploads) < len(uploads):
            raise UserError("files: two files have the same name; give each its own")
        self._allowed, self._limit, self._deadline = allow_fetch, limit, time.monotonic() + SECONDS
        self._checks = Checks()
        self._names: dict[tuple[str, Kind], str] = {}

    def take(self, name: Any, kind: Kind) -> str:
        """Check the file that a request names; returns its new name.

        Raises:
            UserError: it was not uploaded, cannot be fetched, or is invalid.
        """
        if isinstance(name, dict):
            name = name["image_url"]
        if (name, kind) not in self._names:
            content = self._content(name)
            suffix = self._checks.suffix(content, kind, "the URL's file" if is_url(name) else name)
            self._names[name, kind] = self.add(content, kind, suffix)
        return self._names[name, kind]

    def upload(self, upload: Upload, kind: Kind) -> str:
        """Check an upload that stands for itself; returns its new name."""
        return self.add(upload.content, kind, self._checks.suffix(upload.content, kind, upload.name or upload.field))

    def add(self, content: bytes, kind: Kind, suffix: str) -> str:
        """Add a file that was checked."""
        name = f"{kind}-{len(self.stored)}{suffix}"
        self.stored[name] = content
        return name

    def require_all_used(self) -> None:
        """Refuse uploads that the request does not name, which are mistakes of its author.

        Raises:
            UserError: there is one.
        """
        used = {name for name, _ in self._names}
        for name in self._uploads:
            if name not in used:
                raise UserError(f"files: {printable(name):.100} is not named by reference, subjects or another field")

    def _content(self, name: str) -> bytes:
        if not is_url(name):
            if name in self._uploads:
                return self._uploads[name]
            raise UserError(
                f"{printable(name):.100}: no such file was uploaded; send it as a file of the form's field files, or "
                "give a data: URL"
            )
        content = fetched(name, self._allowed, limit=self._limit, deadline=self._deadline)
        self._limit -= len(content)
        return content


def with_files(row: Mapping[str, Any], files: Files) -> dict[str, Any]:
    """A row in which all files have their new names.

    Raises:
        UserError: as `Files.take`.
    """
    named = dict(row)
    for field in ("reference", "negative_reference"):
        if field in row:
            named[field] = _taken(row[field], "image", files)
    if "subjects" in row:
        named["subjects"] = {name: _subject(table, files) for name, table in row["subjects"].items()}
    return named


def _subject(table: Mapping[str, Any], files: Files) -> dict[str, Any]:
    kept = {name: value for name, value in table.items() if value is not None}
    return {
        name: _taken(value, OF_SUBJECT[name], files) if name in OF_SUBJECT else value for name, value in kept.items()
    }


def _taken(value: Any, kind: Kind, files: Files) -> Any:
    return [files.take(item, kind) for item in value] if isinstance(value, list) else files.take(value, kind)
