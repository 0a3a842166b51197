"""Who can use the API: the token, requests that other sites make a browser send, other names of the host, URLs."""

import http.server
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest

from refilm.errors import UserError
from refilm.serving import ServedModel, ServerOptions, Store
from refilm.serving.api.app import create_app
from refilm.serving.api.fetching import fetched

from .api_servers import SHORT, TOKEN, application, image, problem

EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with application(tmp_path_factory.mktemp("guarded") / "store", token=TOKEN) as (client, _):
        yield client


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with application(tmp_path_factory.mktemp("open") / "store") as (client, _):
        yield client


def test_every_route_but_health_needs_the_token(guarded, tmp_path):
    app = create_app(Store(tmp_path / "other"), ServerOptions(ServedModel.of("pocket"), token=TOKEN))
    paths = {*app.openapi()["paths"], "/openapi.json", "/docs", "/", "/v1/videos/x/content", "/anything", "//health"}
    assert len(paths) > 15
    with httpx.Client(base_url=guarded.base_url) as stranger:
        for path in paths - {"/health"}:
            for method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT"):
                answer = stranger.request(method, path.replace("{", "").replace("}", ""))
                assert answer.status_code == 401, (method, path)
        assert stranger.get("/health").json()["status"] == "no_worker"
        assert stranger.get("/login").status_code == 200


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer a", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}"]
)
def test_a_wrong_token_is_refused(guarded, given):
    answer = guarded.get("/v1/videos", headers={"Authorization": given})
    assert problem(answer, 401)["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_cookie_of_the_page(guarded):
    with httpx.Client(base_url=guarded.base_url) as browser:
        page = browser.get("/", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        assert browser.post("/login", data={"token": "wrong"}).status_code == 401
        assert browser.post("/login", data={"token": TOKEN}, headers={"Origin": EVIL}).status_code == 403
        answer = browser.post("/login", data={"token": TOKEN})
        cookie = answer.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert TOKEN not in cookie
        assert browser.get("/v1/videos").status_code == 200
        own = str(guarded.base_url).rstrip("/")
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": EVIL}):
            assert problem(browser.post("/v1/videos", json=SHORT, headers=headers), 403)["type"] == "permission_error"
            assert browser.delete("/v1/videos/video_1", headers=headers).status_code == 403
        for headers in ({"Sec-Fetch-Site": "same-origin", "Origin": own}, {"Origin": own}):
            assert browser.post("/v1/videos", json=SHORT, headers=headers).status_code == 200
        browser.cookies.set("refilm_session", "0" * 64)
        assert browser.get("/v1/videos").status_code == 401


def test_a_token_is_no_matter_of_origins(guarded):
    assert guarded.post("/v1/videos", json=SHORT, headers={"Origin": EVIL}).status_code == 200


def test_without_a_token_other_sites_are_refused_nevertheless(opened):
    for headers in ({"Origin": EVIL}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        problem(opened.post("/v1/videos", data={"prompt": "a critter"}, headers=headers), 403)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_without_a_token_other_names_of_the_host_are_refused(opened, host):
    problem(opened.get("/v1/videos", headers={"Host": host}), 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000"])
def test_names_of_this_machine_are_accepted(opened, host):
    assert opened.get("/v1/videos", headers={"Host": host}).status_code == 200


def test_answers_have_headers_for_browsers(guarded):
    for answer in (guarded.get("/v1/videos"), guarded.get("/nothing"), guarded.get("/login")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    video = guarded.post("/v1/videos", json=SHORT | {"prompt": "<script>alert(1)</script>"})
    assert video.headers["content-type"] == "application/json"


@contextmanager
def images_at(redirect: str = ""):
    """A server of an image on this machine, and what it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(302 if redirect and "again" not in self.path else 200)
            self.send_header("Location", redirect)
            self.end_headers()
            self.wfile.write(image())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def fetch(url, *allowed, limit=1 << 20):
    import time

    return fetched(url, allowed, limit=limit, deadline=time.monotonic() + 5)


def test_urls_are_fetched_from_allowed_hosts_only(monkeypatch):
    with images_at() as (host, asked):
        for url in (
            f"http://{host}/a.png",
            "file:///etc/passwd",
            "ftp://example.org/a",
            f"http://x@{host}/a",
            "http://",
        ):
            with pytest.raises(UserError, match="not fetched"):
                fetch(url, "example.org")
        assert asked == []
        assert fetch(f"http://{host}/a.png?size=1", host) == image()
        assert asked == ["/a.png?size=1"]
        with pytest.raises(UserError, match="more than 10 bytes"):
            fetch(f"http://{host}/a.png", host, limit=10)
        port = host.partition(":")[2]
        for name in ("localhost", "cdn.example"):  # a name that leads to this machine
            monkeypatch.setattr(socket, "getaddrinfo", resolved_to_this_machine)
            with pytest.raises(UserError, match="private address"):
                fetch(f"http://{name}:{port}/a.png", f"{name}:{port}")
        assert len(asked) == 2


def resolved_to_this_machine(host, port, *_):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


def test_redirects_stay_on_the_host():
    with images_at() as (other, asked):
        with images_at(redirect=f"http://{other}/") as (host, _), pytest.raises(UserError, match="another server"):
            fetch(f"http://{host}/", host, other)
        assert asked == []
    with images_at(redirect="/again") as (host, asked):
        assert fetch(f"http://{host}/", host) == image()


def test_a_fetched_image_is_an_input(tmp_path):
    with images_at() as (host, _), application(tmp_path / "store", allow_fetch=(host,)) as (client, store):
        answer = client.post("/v1/videos", json=SHORT | {"input_reference": {"image_url": f"http://{host}/a.png"}})
        assert answer.status_code == 200, answer.text
        job = store.get(answer.json()["id"])
        assert (store.files.inputs(job.id) / job.request["reference"][0]).read_bytes() == image()
