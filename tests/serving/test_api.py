"""The API with a worker, as its clients use it: the unmodified openai client, curl, and events."""

import base64
import json
import subprocess
import time

import pytest

from refilm.media import open_video

from ..docs.pages import blocks
from .api_servers import SHORT, TOKEN, application, image

OTHERS = {"steps": 2, "frames": 9, "size": "32x32"}
openai = pytest.importorskip("openai")
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture(scope="module")
def http(forked, tmp_path_factory):
    with application(tmp_path_factory.mktemp("served") / "store", token=TOKEN) as (client, store):
        forked.start(store)
        yield client
        forked.kill()


@pytest.fixture(scope="module")
def address(http):
    return str(http.base_url).rstrip("/")


@pytest.fixture(scope="module")
def client(address):
    return openai.OpenAI(base_url=f"{address}/v1", api_key=TOKEN, max_retries=0)


@pytest.fixture(scope="module")
def video(client):
    """A completed video, with a reference."""
    fox = ("../fox.png", image())
    return client.videos.create_and_poll(
        prompt="a critter bounces", size="32x32", seconds="1", input_reference=fox, extra_body={"steps": 2, "seed": 7}
    )


def test_the_openai_client_makes_a_video(client, video, tmp_path):
    assert (video.status, video.progress, video.model, video.seconds) == ("completed", 100, "pocket", "1.125")
    content = client.videos.download_content(video.id)
    content.write_to_file(tmp_path / "video.mp4")
    assert len(open_video(tmp_path / "video.mp4").frames) == 9
    assert client.videos.download_content(video.id, variant="thumbnail").read()[8:12] == b"WEBP"
    assert client.videos.download_content(video.id, variant="spritesheet").read()[:3] == b"\xff\xd8\xff"


def test_the_openai_client_remixes_lists_and_deletes(client, video):
    remix = client.videos.remix(video.id, prompt="a critter rests")
    other = client.videos.create(prompt="a critter", extra_body={"num_inference_steps": 900, "num_frames": 9})
    assert (remix.prompt, remix.seed, remix.size) == ("a critter rests", 7, "32x32")
    listed = [one.id for one in client.videos.list(limit=1, order="asc")]
    assert listed == [video.id, remix.id, other.id]
    assert client.videos.delete(other.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(other.id)
    assert client.videos.poll(remix.id).status == "completed"  # the deleted video, of 900 steps, is not made before


def test_the_openai_client_makes_a_video_of_a_character(client):
    fox = client.videos.create_character(name="Fennec fox", video=("fox.png", image()))
    assert client.videos.get_character(fox.id).name == "Fennec fox"
    named = client.videos.create(prompt="a fox rests", extra_body=OTHERS | {"characters": [{"id": fox.id}]})
    assert client.delete(f"/videos/characters/{fox.id}", cast_to=object)["deleted"]
    assert client.videos.poll(named.id).status == "completed"


def test_curl_makes_a_video_and_reads_a_part_of_it(address, tmp_path):
    (tmp_path / "a.png").write_bytes(image())
    subjects = {"fox": {"images": ["a.png"], "mask": "m.gif", "steps": "0..1", "scale": 0.5}}
    (tmp_path / "m.gif").write_bytes(image("GIF"))

    def curl(*arguments):
        command = ["curl", "-s", "--oauth2-bearer", TOKEN, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout

    fields = [
        "-F",
        "prompt=a fox bounces",
        "-F",
        "num_frames=9",
        "-F",
        "width=32",
        "-F",
        "height=32",
        "-F",
        "steps=2",
        "-F",
        "guidance_scale=2.5",
    ]
    files = ["-F", f"subjects={json.dumps(subjects)}", "-F", "files=@a.png", "-F", "files=@m.gif"]
    job = json.loads(curl(f"{address}/v1/videos", *fields, *files))
    url = f"{address}/v1/videos/{job['id']}"
    while job["status"] in ("queued", "in_progress"):
        time.sleep(0.2)
        job = json.loads(curl(url))
    assert job["status"] == "completed", job
    whole = curl(f"{url}/content")
    assert curl("-r", "100-199", f"{url}/content") == whole[100:200]
    assert b"accept-ranges: bytes" in curl("-I", f"{url}/content")
    assert json.loads(curl("-X", "DELETE", url)) == {"id": job["id"], "object": "video.deleted", "deleted": True}


def test_events_end_with_the_final_state(http):
    data = "data:image/png;base64," + base64.b64encode(image()).decode()
    job = http.post("/v1/videos", json=SHORT | {"steps": 6, "input_reference": {"image_url": data}}).json()
    with http.stream("GET", f"/v1/videos/{job['id']}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        states = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    assert states[-1]["status"] == "completed"
    assert [one["progress"] for one in states] == sorted(one["progress"] for one in states)
    assert {one["steps"] for one in states} == {0, 6}


def test_events_of_a_deleted_video_end(http):
    job = http.post("/v1/videos", json=SHORT | {"steps": 900}).json()
    with http.stream("GET", f"/v1/videos/{job['id']}/events") as events:
        lines = events.iter_lines()
        next(lines)
        assert http.delete(f"/v1/videos/{job['id']}").status_code == 200
        states = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert (states[-1]["status"], states[-1]["prompt"]) == ("deleted", None)
    assert SHORT["prompt"] not in json.dumps(states[-1])


def test_the_server_says_how_it_is(http, video):
    assert http.get("/health").json() == {"status": "ok", "workers": 1}
    lines = http.get("/metrics").text.splitlines()
    assert 'refilm_videos{status="failed"} 0' in lines
    assert all(line.startswith("#") or float(line.rpartition(" ")[2]) >= 0 for line in lines)


def test_the_clients_of_the_docs_run(address, fox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REFILM_TOKEN", TOKEN)
    (tmp_path / "fox.png").write_bytes(fox.read_bytes())
    (tmp_path / "left.png").write_bytes(image())
    codes = {
        block.title: block.code.replace("http://127.0.0.1:8000", address).replace("=10", "=1").replace(": 10", ": 1")
        for block in blocks("howto/serve.md")
    }
    exec(compile(codes["client.py"], "client.py", "exec"), {})
    assert len(open_video(tmp_path / "video.mp4").frames) == 9
    shell = subprocess.run(["bash", "-e", "-c", codes["client.sh"]], capture_output=True, text=True, check=True)
    assert '"status":"completed"' in (tmp_path / "events.txt").read_text()
    assert len(open_video(tmp_path / "video.mp4").frames) == 9
    assert '"deleted":true' in shell.stdout
