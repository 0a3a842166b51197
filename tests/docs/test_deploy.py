"""The files of docs/howto/deploy.md work: the service in systemd, events and uploads through nginx and Caddy."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .pages import ROOT, blocks

FILES = {Path(block.title).name: block.code for block in blocks("howto/deploy.md") if block.title}
EVENTS, PAUSE = 4, 0.4  # seconds between events
UPLOAD = 8 << 20  # bytes; more than nginx allows by default


class Backend(BaseHTTPRequestHandler):
    """Sends events slowly, and answers an upload with its size and the headers of the proxy."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number in range(EVENTS):
            self.wfile.write(f"data: {number}\n\n".encode())
            self.wfile.flush()
            time.sleep(PAUSE)

    def do_POST(self) -> None:
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        text = f"{size} {self.headers['Host']} {self.headers['X-Forwarded-Proto']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[int]:
    """The port of a server behind the proxy."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def nginx(folder: Path, port: int, backend: int) -> list[str]:
    """The page's server without encryption, in a complete configuration."""
    server = re.sub(r".*ssl_certificate.*\n", "", FILES["refilm.conf"])
    server = server.replace("443 ssl", f"127.0.0.1:{port}").replace("127.0.0.1:8080", f"127.0.0.1:{backend}")
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    own = f"pid {folder}/pid; error_log {folder}/log; events {{}} daemon off;"
    (folder / "nginx.conf").write_text(f"{own} http {{ access_log off;\n{paths}{server}}}")
    command = ["nginx", "-c", f"{folder}/nginx.conf", "-p", str(folder), "-e", f"{folder}/log"]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    return command


def caddy(folder: Path, port: int, backend: int) -> list[str]:
    """The page's site without encryption."""
    site = FILES["Caddyfile"].replace("videos.example.org", f"http://127.0.0.1:{port}")
    text = "{\n    admin off\n}\n" + site.replace("127.0.0.1:8080", f"127.0.0.1:{backend}")
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--config", f"{folder}/Caddyfile"]


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A proxy that listens."""
    own = os.environ | {"HOME": str(folder)}
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=own)
    try:
        deadline = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("proxy", [nginx, caddy], ids=lambda proxy: proxy.__name__)
def test_events_pass_at_once_and_uploads_are_accepted(proxy, backend, tmp_path):
    assert shutil.which(proxy.__name__), f"apt-get install {proxy.__name__}"
    port = free_port()
    with running(proxy(tmp_path, port, backend), port, tmp_path):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/v1/videos/1/events")
        response, times = connection.getresponse(), []
        while line := response.readline():
            times += [time.monotonic()] if line.startswith(b"data") else []
        assert len(times) == EVENTS
        assert times[-1] - times[0] > PAUSE * (EVENTS - 1) / 2, "the events came together"
        connection.request("POST", "/v1/videos", body=bytes(UPLOAD), headers={"Host": f"127.0.0.1:{port}"})
        answer = connection.getresponse()
        assert answer.status == 200
        size, host, scheme = answer.read().decode().split()
        assert (size, host.split(":")[0], scheme) == (str(UPLOAD), "127.0.0.1", "http")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_accepts_the_service(tmp_path):
    unit = FILES["refilm.service"].replace("/opt/refilm/bin/refilm", sys.executable)
    assert sys.executable in unit
    path = tmp_path / "refilm.service"
    path.write_text(unit.replace("User=refilm\nGroup=refilm\n", ""))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if path.name in line] == []
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_copies_what_the_ignore_file_lets_through():
    lines = (ROOT / "docker" / "Dockerfile").read_text().splitlines()
    copied = {
        name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_the_page_names_the_arguments_of_the_dockerfile():
    text = (ROOT / "docker" / "Dockerfile").read_text()
    page = (ROOT / "docs" / "howto" / "deploy.md").read_text()
    for name, default in set(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE)):
        assert re.search(rf"^\| `{name}` \|.*\| `{re.escape(default)}` \|$", page, re.MULTILINE), name
