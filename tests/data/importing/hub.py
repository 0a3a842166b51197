"""A local Hub with one data set, `owner/name`: the part of the protocol that streaming requires."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

REVISION = "a" * 40
REPOSITORY = "/api/datasets/owner/name"


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yields the address."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if path.startswith(f"{REPOSITORY}/tree/"):
                listed = ({"type": "file", "path": name, "size": len(files[name]), "oid": oid(name)} for name in files)
                self.send(json.dumps(list(listed)).encode())
            elif path in (REPOSITORY, f"{REPOSITORY}/revision/{REVISION}"):
                siblings = [{"rfilename": name} for name in files]
                self.send(json.dumps({"id": "owner/name", "sha": REVISION, "siblings": siblings, "tags": []}).encode())
            elif "/resolve/" in path and path.rpartition("/")[2] in files:
                name = path.rpartition("/")[2]
                self.send(files[name], ETag=f'"{oid(name)}"')
            else:
                self.send(b"{}", 404, **{"X-Error-Code": "EntryNotFound"})

        do_HEAD = do_GET  # noqa: N815

        def send(self, body: bytes, code: int = 200, **headers: str):
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": REVISION, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    def oid(name: str) -> str:
        return hashlib.sha1(files[name]).hexdigest()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
