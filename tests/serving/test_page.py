"""The page in a real browser: every control is used, with the pocket model."""

import json
import re

import httpx
import numpy as np
import pytest
from PIL import Image

from refilm.generation.recipe import read_video_recipe
from refilm.serving import Store

from .pages import BROWSER, CAMERA, PageServer, Window, browsing, wait_for

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
PROMPT = "a critter bounces in the meadow"
EVIL = "<img src=x onerror=alert(1)>"  # short enough for the model


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    found = PageServer(tmp_path_factory.mktemp("server"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def store(server):
    found = Store(server.store)
    yield found
    found.close()


@pytest.fixture(scope="module")
def browser():
    with browsing(*CAMERA) as found:
        yield found


@pytest.fixture
def window(server, browser):
    found = Window(browser, server.address)
    yield found
    found.page.close()
    assert found.faults == []


def small(window: Window, steps: int = 2) -> None:
    """Open the advanced settings and choose a small video."""
    window.unfold("advanced")
    window.fill("setting-steps", str(steps))
    window.fill("setting-frames", "9")


def newest(store: Store):
    return store.list(limit=1).jobs[0]


def completed(store: Store, job: str):
    return wait_for(lambda: (found := store.get(job)).status == "completed" and found)


def made(store: Store, prompt: str = PROMPT, **settings):
    """A finished video that was asked for without the page."""
    job = store.accept({"prompt": prompt, "steps": 2, "frames": 9, **settings}, model="pocket")
    return completed(store, job.id)


def test_a_video_is_asked_for_and_found_in_the_gallery(server, browser, store):
    window = Window(browser, server.address)
    assert window.page.title() == "refilm"
    window.page.click("#create")
    window.shows("message", "the prompt is empty")
    window.page.click("#examples button >> nth=0")
    small(window)
    window.page.click("#create")
    window.shows("message", "The video is queued.")
    job = newest(store)
    assert job.request == {"prompt": PROMPT, "steps": 2, "frames": 9, "seed": job.seed}
    completed(store, job.id)
    window.page.click("#recent [data-action=open] >> nth=0")
    window.page.wait_for_selector("#detail video")
    assert str(job.seed) in window.text("detail")
    window.page.close()
    assert window.faults == []


def test_the_page_names_no_other_server(server):
    text = httpx.get(server.address, timeout=60).text
    loaded = re.findall(r"""(?:src|href)=["']([^"']*)""", text)
    assert loaded
    assert [url for url in loaded if url.startswith(("http", "//"))] == []
    assert "fonts.googleapis" not in text
    icon = httpx.get(f"{server.address}/favicon.ico", timeout=60)
    assert icon.content.startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_subject_is_saved_masked_directed_and_used_again(window, store, fox, tmp_path):
    """New subject, views, words, strength, camera, masks, saved subjects, settings of a job."""
    page = window.page
    small(window)
    window.fill("prompt", "a critter spins at night")
    page.set_input_files("#images input[type=file]", [fox, fox])
    page.wait_for_selector("#save-subject:visible")
    page.click("#save-subject")
    window.shows("subject-message", "Name: is empty")
    window.fill("subject-name", f"Fox {EVIL}")
    window.fill("new-words", "critter, fox")
    window.fill("new-scale", "0.8")
    window.unfold("new-when")
    window.fill("new-frames", "0..1")
    window.fill("new-steps", "1-2")
    page.click("#save-subject")
    window.shows("subject-message", "is saved, and is in this video")
    (fox_saved,), _ = store.characters.list()
    assert (fox_saved.name, fox_saved.words, len(fox_saved.files)) == (f"Fox {EVIL}", ("critter", "fox"), 2)
    draw_masks(window)
    page.click("#create")
    window.shows("message", "The video is queued.")
    job = completed(store, newest(store).id)
    (subject,) = job.request["subjects"].values()
    assert {name: subject[name] for name in ("words", "scale", "frames", "steps")} == {
        "words": ["critter", "fox"],
        "scale": 0.8,
        "frames": "0..1",
        "steps": "1-2",
    }
    masks = [np.asarray(Image.open(store.files.inputs(job.id) / name)) for name in subject["image_masks"]]
    assert [0 < mask.mean() < 250 for mask in masks] == [True, False]  # drawn on the first, the second is read whole
    where = np.asarray(Image.open(store.files.inputs(job.id) / subject["mask"]))
    half = where.shape[1] // 2
    assert not where[:, :half].any()
    assert where[:, half:].all()

    page.click("#remove-0")
    page.wait_for_selector("#subject-0-scale", state="hidden")
    window.choose("saved", "Fox")
    window.shows("subject-message", "")
    page.wait_for_selector("#subject-0-scale")
    window.choose("saved", "Fox")
    window.shows("subject-message", "in the video already")
    page.click("#remove-0")
    page.wait_for_selector("#subject-0-scale", state="hidden")

    window.tab("Gallery")
    page.click("#grid [data-action=open] >> nth=0")
    page.wait_for_selector("#detail video")
    page.click("#reuse")
    window.shows("message", "The settings of the video are in the form")
    assert window.value("subject-0-scale") == "0.8"
    page.click("#create")
    window.shows("message", "The video is queued.")
    again = completed(store, newest(store).id)
    assert again.id != job.id
    assert store.content(again).read_bytes() == store.content(job).read_bytes()


def draw_masks(window: Window) -> None:
    """A mask painted on an image, and a rectangle in the video."""
    page = window.page
    window.unfold("masks")
    page.click("#mask-load")
    canvas = page.wait_for_selector("#mask-editor canvas")
    page.wait_for_timeout(3000)  # the editor has no event that says it is ready
    page.click("#mask-use")
    window.shows("mask-message", "nothing is drawn yet")
    box = canvas.bounding_box()
    page.click("#mask-editor [aria-label=Brush]") if page.query_selector("#mask-editor [aria-label=Brush]") else None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=5)
    page.mouse.up()
    page.wait_for_timeout(1000)
    page.click("#mask-use")
    window.shows("mask-summary", "On image 1")
    window.choose("mask-target", "On the video")
    page.click("#mask-load")
    page.wait_for_selector("#mask-left input")
    for side, value in (("left", 60), ("top", 0), ("right", 50), ("bottom", 100)):
        window.fill(f"mask-{side}", str(value))
    page.click("#mask-use-rectangle")
    window.shows("mask-message", "the rectangle is empty")
    window.fill("mask-left", "50")
    window.fill("mask-right", "100")
    page.click("#mask-use-rectangle")
    window.shows("mask-summary", "On the video")


@pytest.mark.slow
def test_the_camera_gives_an_image(window):
    page = window.page
    page.click("#images [aria-label='Capture from camera']")
    page.click("#images :text('Webcam')")
    page.wait_for_function("document.querySelector('#images video')?.videoWidth > 0")
    page.click("#images [aria-label='capture photo'], #images button:has-text('Capture')")
    page.wait_for_selector("#save-subject:visible")


@pytest.mark.slow
def test_a_job_is_watched_and_cancelled(window, store):
    page = window.page
    store.accept({"prompt": "a long one", "steps": 900}, model="pocket")
    waiting = store.accept({"prompt": EVIL, "steps": 2, "frames": 9}, model="pocket")
    window.shows("active", "queued, next")
    window.shows("active", "of 900, about")
    page.wait_for_selector("#active img.frame")
    wait_for(lambda: page.evaluate("document.querySelector('#active img.frame')?.naturalWidth > 0"))
    cancel = "#active .job:has-text('a long one') button"
    page.focus(cancel)
    before = window.text("active")
    page.wait_for_function("before => document.querySelector('#active').innerText != before", arg=before)
    assert page.evaluate("document.activeElement.dataset.action") == "delete"  # the new HTML has the focus of the old
    page.keyboard.press("Enter")
    completed(store, waiting.id)
    assert all(job.prompt != "a long one" for job in store.list(limit=100).jobs)
    window.shows("recent", EVIL)


@pytest.mark.slow
def test_drafts_are_finished_and_two_videos_compared(window, store):
    page = window.page
    small(window, steps=4)
    window.fill("prompt", "a critter falls in the snow")
    window.unfold("drafts")
    window.fill("draft-steps", "4")
    page.click("#create-drafts")
    window.shows("message", "fewer than those of the video")
    window.fill("draft-steps", "1")
    page.fill("#draft-count input[type=number]", "2")
    page.click("#create-drafts")
    window.shows("message", "2 drafts are queued")
    jobs = store.list(limit=2).jobs
    assert jobs[0].seed == jobs[1].seed + 1
    assert all(job.request["steps"] == 1 for job in jobs)
    for job in jobs:
        completed(store, job.id)
    window.tab("Gallery")
    page.click(f"#grid [data-key={jobs[0].id}]")
    window.shows("detail", "1 of 4 steps")
    page.click("#finish")
    window.shows("gallery-message", "queued with all steps")
    finished = completed(store, newest(store).id)
    assert (finished.seed, finished.request["steps"], finished.output) == (jobs[0].seed, 4, "video.mp4")
    page.click("#again")
    window.shows("gallery-message", "another seed")
    assert newest(store).seed != jobs[0].seed
    page.click("#compare-this")
    page.wait_for_selector("#players video >> nth=1")
    window.choose("right", "seed")
    page.click("#players [data-play]")
    page.wait_for_function("[...document.querySelectorAll('#players video')].every(one => one.currentTime > 0.2)")
    page.click("#players [data-play]")
    page.locator("#players [data-seek]").focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("PageUp")
    times = page.evaluate("[...document.querySelectorAll('#players video')].map(one => one.currentTime)")
    assert times[0] > 0
    assert abs(times[0] - times[1]) < 0.06


@pytest.mark.slow
def test_heat_maps_deletion_and_a_dropped_video(window, store, fox, tmp_path):
    page = window.page
    request = {"prompt": PROMPT, "steps": 2, "frames": 9, "seed": 3, "guidance": 3.5, "reference": ["fox.png"]}
    job = completed(store, store.accept(request, {"fox.png": fox}, model="pocket").id)
    plain = store.content(job).read_bytes()
    window.tab("Gallery")
    page.click(f"#grid [data-key={job.id}]")
    page.wait_for_selector("#detail video")
    page.click("#explain")
    window.shows("gallery-message", "with heat maps")
    explained = completed(store, newest(store).id)
    assert store.content(explained).read_bytes() == plain
    page.click(f"#grid [data-key={explained.id}]")
    page.wait_for_selector("#detail .maps video")
    wait_for(lambda: page.evaluate("document.querySelector('#detail .maps video').videoWidth > 0"))
    with page.expect_download() as download:
        page.click("text=Download video")
    video = tmp_path / "mine.mp4"
    download.value.save_as(video)
    assert video.read_bytes() == plain
    page.click("#delete")
    window.shows("gallery-message", "deleted")
    assert not page.query_selector(f"#grid [data-key={explained.id}]")

    window.tab("Create")
    window.unfold("from-video")
    page.set_input_files("#dropped input[type=file]", video)
    window.shows("message", "The settings of the video are in the form")
    assert window.value("prompt") == PROMPT
    window.unfold("advanced")
    assert (window.value("setting-guidance"), window.value("seed")) == ("3.5", "3")
    assert read_video_recipe(video).settings.guidance == 3.5


@pytest.mark.slow
def test_invalid_values_are_explained_beside_the_button(window, store):
    page, count = window.page, store.list(limit=1).jobs[0].number if store.list(limit=1).jobs else 0
    window.fill("prompt", PROMPT)
    window.unfold("advanced")
    for where, value, message in (
        ("setting-frames", "10", "frames"),
        ("setting-steps", "0", "steps"),
        ("seed", "-1", "Seed"),
        ("setting-reference_guidance", "many", "is not a number"),
    ):
        if where == "setting-reference_guidance":
            page.click("text=Guidance, windows and more")
        kept = window.value(where)
        window.fill(where, value)
        page.click("#create")
        window.shows("message", message)
        window.fill(where, kept)
    for name in ("sampler", "guidance_schedule", "guidance_form", "binding"):
        window.choose(f"setting-{name}", page.input_value(f"#setting-{name} input"))
    broken = {"name": "x.png", "mimeType": "image/png", "buffer": b"no image"}
    page.set_input_files("#images input[type=file]", broken)
    page.wait_for_selector("#save-subject:visible")
    page.click("#create")
    window.shows("message", "x.png")
    assert not store.list(limit=1).jobs or store.list(limit=1).jobs[0].number == count


@pytest.mark.slow
def test_nothing_that_a_user_wrote_is_run(window, store, fox):
    job = made(store, EVIL)
    store.characters.create(EVIL, {"fox.png": fox})
    store.accept(
        {"prompt": f"{EVIL}${{alert(2)}}<script>alert(3)</script>{{{{constructor}}}}", "steps": 2}, model="pocket"
    )
    window.shows("recent", "failed: the prompt has")
    window.shows("recent", "onerror")
    window.tab("Gallery")
    window.page.click(f"#grid [data-key={job.id}]")
    window.shows("detail", "onerror")
    assert EVIL in window.text("detail")
    window.page.click("#compare-this")
    window.page.wait_for_selector("#players video >> nth=0")
    assert (
        window.page.evaluate("document.querySelectorAll('#grid img[src=x], #detail img, #recent script').length") == 0
    )


@pytest.mark.slow
def test_a_recipe_is_trained_stopped_and_resumed(server, window):
    page = window.page
    (server.recipes / "small.toml").write_text(
        'stage = "adapter"\nbase = "pocket"\nout = "adapter"\n[data]\ncache = "cache"\nclips = 8\nheld_out_clips = 8\n'
        "[diffusion]\ncurriculum = [{until = 500, latent_frames = 1, batch = 2}]\n[diffusion.validation]\nsamples = 8\n"
        '[videos]\nprompts = ["a critter bounces in the meadow"]\nsteps = 1\n'
        "[loop]\nsteps = 400\nvalidate_every = 2\nsave_every = 2\n"
    )
    window.tab("Training")
    page.click("#start")
    window.shows("training-message", "choose a recipe")
    page.click("#resume")
    window.shows("training-message", "there is no run")
    page.click("#stop")
    window.shows("training-message", "no training is running")
    window.choose("recipe", "small.toml")
    page.click("#start")
    window.shows("run", "Training: small.toml")
    page.click("#start")
    window.shows("training-message", "stop it first")
    page.wait_for_selector("#run svg.plot", timeout=180_000)
    page.wait_for_selector("#run .maps video", timeout=120_000)
    page.click("#stop")
    window.shows("run", "Stopped: small.toml")
    page.reload()
    window.tab("Training")
    window.shows("run", "is saved")
    page.click("#resume")
    window.shows("run", "Training: small.toml")
    page.click("#stop")
    window.shows("run", "Stopped: small.toml")


@pytest.mark.slow
def test_agents_use_the_same_store(server, store):
    """Gradio's MCP endpoint, with the messages of the protocol."""
    made_by_agent = call(server, "create_video", prompt=PROMPT, seed=4, steps=2)
    assert store.get(made_by_agent["id"]).request == {"prompt": PROMPT, "seed": 4, "steps": 2}
    completed(store, made_by_agent["id"])
    status = call(server, "video_status", video=made_by_agent["id"])
    assert (status["status"], status["content"]) == ("completed", f"/v1/videos/{made_by_agent['id']}/content")
    assert "no such video" in json.dumps(called(server, "video_status", video="video_0"))


def call(server: PageServer, tool: str, **arguments):
    (content,) = called(server, tool, **arguments)["result"]["content"]
    return json.loads(content["text"].replace("'", '"').replace("None", "null"))


def called(server: PageServer, tool: str, **arguments):
    """Call a tool; returns the answer of the protocol."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    headers = {"Accept": "application/json, text/event-stream"}
    answer = httpx.post(f"{server.address}/gradio_api/mcp/", json=message, headers=headers, timeout=60)
    return json.loads(re.search(r"^(?:data: )?(\{.*\})\s*$", answer.text, re.MULTILINE)[1])
