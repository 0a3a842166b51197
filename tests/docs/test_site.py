"""The site builds without warnings, and every page looks right in a browser, on a desktop and on a phone."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from .pages import DOCS, ROOT

WIDTHS = {"desktop": 1280, "phone": 390}
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
MEASURE = """() => ({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    broken: [...document.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src),
    media: [...document.querySelectorAll("video")].filter(video => video.error).map(video => video.src),
})"""


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The site as `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder)))
    return folder


@pytest.fixture(scope="session")
def server(site):
    """The site's address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_every_page_is_built_and_in_the_navigation(site):
    pages = [path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")]
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in pages:
        folder = page.parent if page.name == "index" else page
        assert (site / folder / "index.html").is_file()
        assert f'href="{"." if folder == Path() else f"{folder.as_posix()}/"}"' in home


@pytest.mark.slow
def test_every_page_fits_and_is_whole_in_a_browser(site, server):
    """No page is wider than its window, misses an image, logs an error, or asks another server for anything."""
    from playwright.sync_api import sync_playwright

    assert BROWSER, "no browser: apt-get install chromium"
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-background-networking"]
        )
        for name, width in WIDTHS.items():
            window = browser.new_page(viewport={"width": width, "height": 900})
            seen: list[str] = []
            window.on("console", lambda message, seen=seen: seen.append(message.text) if message.type == "error" else 0)
            window.on("pageerror", lambda error, seen=seen: seen.append(str(error)))
            window.on("request", lambda asked, seen=seen: seen.append(asked.url) if not at(server, asked.url) else 0)
            for path in sorted(site.rglob("index.html")):
                page = path.parent.relative_to(site).as_posix()
                window.goto(f"{server}{page}/", wait_until="load")
                found = window.evaluate(MEASURE)
                if any(found.values()) or seen:
                    faults.append(f"{page} on a {name}: {found} {seen}")
                seen.clear()
            window.close()
        browser.close()
    assert faults == []


def at(server: str, url: str) -> bool:
    """Whether a request stays on this server."""
    return url.startswith((server, "data:", "blob:"))
