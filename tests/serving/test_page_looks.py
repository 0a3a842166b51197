"""The page for everyone: readable in light and dark, on a phone, with the keyboard alone, and without the internet."""

import subprocess
import tarfile

import pytest

from refilm.serving import Store

from .pages import BROWSER, PageServer, Window, browsing, wait_for

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
WIDTHS = {"desktop": 1280, "phone": 390}
AXE = "axe-core@4.14.1"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    found = PageServer(tmp_path_factory.mktemp("server"))
    store = Store(found.store)
    jobs = [store.accept({"prompt": f"a critter {verb}", "steps": 2, "frames": 9}, model="pocket") for verb in VERBS]
    wait_for(lambda: all(store.get(job.id).status == "completed" for job in jobs))
    store.close()
    yield found
    found.close()


VERBS = ("spins", "falls")


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core, which is downloaded for this test alone."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        subprocess.run(["npm", "pack", AXE], cwd=folder, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"axe-core cannot be downloaded: {error}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
def test_axe_finds_no_serious_problem_and_nothing_overflows(server, axe, device, scheme):
    with browsing() as browser:
        window = Window(browser, server.address, viewport={"width": WIDTHS[device], "height": 900}, color_scheme=scheme)
        page = window.page
        window.shows("recent", "a critter falls")
        faults = []

        def check(where):
            page.evaluate(axe)
            found = page.evaluate("axe.run()")["violations"]
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            faults.extend((where, one["id"], node["html"]) for one in serious for node in one["nodes"])
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                faults.append((where, "overflow"))

        for part in ("masks", "advanced", "drafts", "from-video"):
            window.unfold(part)
        page.click("#create")
        window.shows("message", "the prompt is empty")
        check("create")
        window.tab("Gallery")
        page.click("#grid button >> nth=0")
        page.wait_for_selector("#detail video")
        check("gallery")
        page.click("#compare-this")
        page.wait_for_selector("#players video >> nth=1")
        check("compare")
        window.tab("Training")
        page.wait_for_selector("#start")
        check("training")
        assert faults == []
        assert window.faults == []


@pytest.mark.slow
def test_a_video_is_made_with_the_keyboard_alone(server):
    with browsing() as browser:
        window = Window(browser, server.address)
        press = window.page.keyboard.press

        def until(selector):
            for _ in range(60):
                if window.page.evaluate("selector => document.activeElement?.matches(selector)", selector):
                    return
                press("Tab")
            raise AssertionError(f"{selector} is not reached")

        until("#prompt textarea")
        window.page.keyboard.type("a critter grows")
        until("#create")
        press("Enter")
        window.shows("message", "The video is queued.")
        window.shows("recent", "a critter grows")
        until("#active button, #recent button")
        press("Enter")
        window.page.wait_for_selector("#detail video")
        assert window.faults == []
