"""`refilm push` to a server of our own that speaks as much of the Hub's language as an upload takes."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from refilm.checkpoints import convert, load_adapter
from refilm.evaluation.result import ColumnRecord, MetricRecord, Result, ScoredVideo, Source, SuiteRecord
from refilm.files import write_json
from refilm.generation.recipe import adapter_fingerprint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Keeps repositories in memory: {name: {"private": ..., "files": {path: bytes}}}."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Door)
        self.repositories, self.uploads = {}, {}
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Door(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_):
        pass

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if "/resolve/" in self.path:
            return self.download()
        name = self.path.partition("?")[0].removeprefix("/api/models/")
        for asked in ("/revision/", "/tree/"):
            place, _, revision = name.partition(asked)
            if revision and place in self.server.repositories:
                return self.told(place, as_tree=asked == "/tree/")
        if name not in self.server.repositories:
            return self.answer({"error": "Not found"}, 404)
        self.answer({"id": name, "private": self.server.repositories[name]["private"]})

    def told(self, name, *, as_tree):
        files = self.server.repositories[name]["files"]
        if as_tree:
            entries = [{"type": "file", "path": path, "size": len(b), "oid": "0" * 40} for path, b in files.items()]
            return self.answer(entries)
        self.answer({"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files]})

    def download(self):
        name, _, place = self.path[1:].partition("/resolve/")
        content = self.server.repositories[name]["files"].get(place.partition("/")[2])
        if content is None:
            return self.answer({"error": "Entry not found"}, 404)
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_PUT(self):
        content = self.body()
        assert hashlib.sha256(content).hexdigest() == self.path.removeprefix("/upload/")
        self.server.uploads[self.path.removeprefix("/upload/")] = content
        self.answer({})

    def do_POST(self):
        content = self.body()
        if self.headers.get("Authorization") != "Bearer of-the-test":
            self.answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            self.create(json.loads(content))
        elif "/preupload/" in self.path:
            modes = {True: "lfs", False: "regular"}
            paths = [file["path"] for file in json.loads(content)["files"]]
            files = [{"path": p, "uploadMode": modes[p.endswith("s")], "shouldIgnore": False} for p in paths]
            self.answer({"files": files})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**wanted, "actions": {"upload": {"href": f"{self.server.address}/upload/{wanted['oid']}"}}}
                for wanted in json.loads(content)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        else:
            self.commit([json.loads(line) for line in content.splitlines()])

    def create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.server.repositories:
            return self.answer({"error": "You already created this model repo", "url": f"/{name}"}, 409)
        self.server.repositories[name] = {"private": wanted.get("visibility") == "private", "files": {}}
        self.answer({"url": f"{self.server.address}/{name}"})

    def commit(self, lines):
        name = self.path.removeprefix("/api/models/").removesuffix("/commit/main")
        files = self.server.repositories[name]["files"]
        for line in lines[1:]:
            value = line["value"]
            files[value["path"]] = (
                self.server.uploads[value["oid"]] if line["key"] == "lfsFile" else base64.b64decode(value["content"])
            )
        self.answer({"commitUrl": f"{self.server.address}/{name}/commit/abc", "commitOid": "abc"})


@pytest.fixture
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def push(hub, *words, token="of-the-test"):
    return run(hub, "push", *words, token=token)


def run(hub, *words, token="of-the-test", **own):
    """In a process of its own: which Hub it talks to is read when its library is imported."""
    own |= {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "refilm.cli", *map(str, words)]
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=600)


def test_an_adapter_arrives_whole_and_nothing_else_does(hub, tiny_base, tmp_path):
    folder, own = tiny_base / "adapter", tmp_path / "own"
    shutil.copytree(folder, own)
    (own / "secret.txt").write_text("no part of the adapter")

    done = push(hub, own, "me/fox", "--private")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"me/fox: 3 files, {hub.address}/me/fox/commit/abc"
    repository = hub.repositories["me/fox"]
    assert repository["private"]
    assert repository["files"] == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_what_was_pushed_is_fetched(hub, tiny_base, tmp_path):
    """By its id, and whole: the adapter that arrives is the one that left."""
    assert push(hub, tiny_base / "adapter", "me/fox").returncode == 0
    done = run(hub, "convert", "me/fox", tmp_path / "fetched.safetensors", HF_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (own,) = convert(tiny_base / "adapter", tmp_path / "own.safetensors").written
    assert own.read_bytes() == (tmp_path / "fetched.safetensors").read_bytes()


def test_a_public_repository_gets_nothing_private(hub, tiny_base):
    hub.repositories["me/open"] = {"private": False, "files": {}}
    refused(push(hub, tiny_base / "adapter", "me/open", "--private"), "me/open: already exists and is public")
    assert hub.repositories["me/open"]["files"] == {}


def test_a_login_that_is_none_is_refused_in_one_line(hub, tiny_base):
    refused(push(hub, tiny_base / "adapter", "me/fox", token="another"), "log in with `hf auth login`")
    assert hub.repositories == {}


def test_a_dry_run_lists_files_and_uploads_nothing(refilm, tiny_base):
    result = refilm("push", tiny_base / "adapter", "me/fox", "--dry-run")  # here the network is off
    assert result.exit_code == 0, result.output
    *files, last = result.stdout.splitlines()
    sizes = {name: (tiny_base / "adapter" / name).stat().st_size for name in ("README.md", "adapter.json")}
    assert files[:2] == [f"{name}: {size:,} bytes" for name, size in sizes.items()]
    assert last == "me/fox: nothing was uploaded (dry run)"


def test_a_result_is_written_into_the_card_before_it_is_uploaded(hub, refilm, tiny_base, tmp_path):
    own, file = shutil.copytree(tiny_base / "adapter", tmp_path / "own"), tmp_path / "result.json"
    write_json(file, result_of(own).to_values())
    assert refilm("push", own, "me/fox", "--evaluation", file, "--dry-run").exit_code == 0
    assert (own / "README.md").read_bytes() == (tiny_base / "adapter" / "README.md").read_bytes()
    assert push(hub, own, "me/fox", "--evaluation", file).returncode == 0
    card = hub.repositories["me/fox"]["files"]["README.md"].decode()
    assert "The suite `grays`, version 1: means over 2 groups of videos" in card
    assert "| likeness ↑ | 0.750 |" in card
    before = (own / "README.md").read_bytes()
    assert push(hub, own, "me/fox", "--evaluation", file).returncode == 0
    assert (own / "README.md").read_bytes() == before, "a second one replaces the first"
    assert load_adapter(own).size == load_adapter(tiny_base / "adapter").size


def test_a_result_of_other_weights_is_refused(refilm, tiny_base, tmp_path):
    own, file = shutil.copytree(tiny_base / "adapter", tmp_path / "own"), tmp_path / "result.json"
    for source, what in (
        (Source(kind="model", details={"adapter_fingerprint": "0", "adapter": "fox"}), "about another adapter, fox"),
        (Source(kind="server"), "about videos of a server"),
    ):
        write_json(file, result_of(own).model_copy(update={"source": source}).to_values())
        pushed = refilm("push", own, "me/fox", "--evaluation", file, "--dry-run")
        assert pushed.exit_code == 2
        assert what in pushed.stderr


def result_of(adapter: Path) -> Result:
    """A result of an adapter."""
    columns = (ColumnRecord(name="likeness", description="", worst=0.0),)
    videos = [
        ScoredVideo(
            case=f"{n}", control="right", group=f"{n}", prompt="", seed=n, subject=(), scores={"likeness": 0.5 + n / 2}
        )
        for n in range(2)
    ]
    return Result(
        suite=SuiteRecord(name="grays", version="1", cases=""),
        source=Source(kind="model", details={"adapter_fingerprint": adapter_fingerprint(load_adapter(adapter))}),
        metrics={"likeness": MetricRecord(columns=columns)},
        videos=tuple(videos),
        machine={},
        refilm="0",
        date="",
    )


def test_what_is_no_adapter_is_refused(refilm, tiny_base, tmp_path):
    (tmp_path / "adapter.json").write_text("{}")
    for folder, what in ((tiny_base, "its adapter is"), (tmp_path, "format: Field required")):
        result = refilm("push", folder, "me/fox", "--dry-run")
        assert result.exit_code == 2
        assert what in result.stderr


@pytest.mark.parametrize("name", ["README.md", "adapter.safetensors"])
def test_no_link_is_followed(refilm, tiny_base, tmp_path, name):
    own, secret = shutil.copytree(tiny_base / "adapter", tmp_path / "own"), tmp_path / "secret"
    (own / name).rename(secret)
    (own / name).symlink_to(secret)
    result = refilm("push", own, "me/fox", "--dry-run")
    assert result.exit_code == 2
    assert f"{name}: is a link to {secret}; replace it with a copy of the file" in result.stderr


def test_a_file_that_the_card_does_not_name_stays_here(refilm, tiny_base, tmp_path):
    own = shutil.copytree(tiny_base / "adapter", tmp_path / "own")
    shutil.copyfile(own / "adapter.safetensors", own / "lora.safetensors")
    result = refilm("push", own, "me/fox", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "lora" not in result.stdout


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize("name", ["fox", "me/fox/too", "/fox"])
def test_a_name_that_is_none_is_refused(refilm, tiny_base, name, options):
    result = refilm("push", tiny_base / "adapter", name, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{name!r}: not a Hub repository id; use owner/name" in result.stderr


def refused(done, what):
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert what in line
