"""What the API accepts and refuses: fields, forms, files, pages, keys, and the form of every error."""

import base64
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refilm.media import Video
from refilm.serving.api import images
from refilm.serving.api.body import nested
from refilm.serving.api.fields import VideoCreate

from .api_servers import SHORT, application, image, problem

DATA = "data:image/png;base64," + base64.b64encode(image()).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with application(tmp_path_factory.mktemp("served") / "store", max_upload=1 << 20, max_queue=10**6) as found:
        yield found


@pytest.fixture(scope="module")
def http(server):
    return server[0]


@pytest.fixture(scope="module")
def stored(server):
    return server[1]


def accepted(response):
    assert response.status_code == 200, response.text
    return response.json()


def test_all_names_of_a_setting_mean_the_same(http, stored):
    ours = SHORT | {"guidance": 2.5, "seed": 3, "negative_prompt": "blur"}
    theirs = {
        "prompt": SHORT["prompt"],
        "num_inference_steps": 2,
        "num_frames": 9,
        "width": 32,
        "height": 32,
        "fps": 8,
        "guidance_scale": 2.5,
        "seed": 3,
        "negative_prompt": "blur",
        "model": "pocket",
        "input_reference": None,
    }
    texts = {name: str(value) for name, value in theirs.items() if value is not None}
    wanted = stored.get(accepted(http.post("/v1/videos", json=ours))["id"]).request
    assert wanted == ours
    for answer in (http.post("/v1/videos", json=theirs), http.post("/v1/videos", data=texts)):
        assert stored.get(accepted(answer)["id"]).request == wanted
    multipart = {name: (None, text) for name, text in texts.items()}
    assert stored.get(accepted(http.post("/v1/videos", files=multipart))["id"]).request == wanted


@pytest.mark.parametrize(("seconds", "frames"), [("1", 9), (2, 17), ("0.1", 1), (1.25, 9), (1.5, 13)])
def test_seconds_are_the_nearest_frames(http, stored, seconds, frames):
    answer = accepted(http.post("/v1/videos", json={"prompt": "a critter", "seconds": seconds}))
    assert stored.get(answer["id"]).request["frames"] == frames
    assert answer["seconds"] == f"{frames / 8:g}"


def test_files_have_names_of_the_servers_choice(http, stored):
    subjects = {"fox": {"images": ["../../a.png", DATA], "mask": "<b> m;.exe", "frames": "5-9", "words": ["fox"]}}
    files = [("files", ("../../a.png", image("JPEG"))), ("files", ("<b> m;.exe", image("GIF")))]
    job = stored.get(accepted(http.post("/v1/videos", data=form(subjects=subjects), files=files))["id"])
    fox = job.request["subjects"]["fox"]
    assert fox == {"images": ["image-0.jpg", "image-1.png"], "mask": "mask-2.gif", "frames": "5-9", "words": ["fox"]}
    folder = stored.files.inputs(job.id)
    assert (folder / "image-0.jpg").read_bytes() == image("JPEG")
    assert {path.name for path in folder.iterdir()} == {"image-0.jpg", "image-1.png", "mask-2.gif"}


def test_a_mask_can_be_a_video(http, stored, tmp_path):
    Video(np.full((9, 32, 32, 3), 255, np.uint8), 8).save(tmp_path / "m.mp4")
    subjects = {"fox": {"images": ["a"], "mask": "m"}}
    files = [("files", ("a", image())), ("files", ("m", (tmp_path / "m.mp4").read_bytes()))]
    job = stored.get(accepted(http.post("/v1/videos", data=form(subjects=subjects), files=files))["id"])
    assert job.request["subjects"]["fox"]["mask"] == "mask-1.mp4"
    files[1] = ("files", ("m", files[1][1][1][:40]))
    assert problem(http.post("/v1/videos", data=form(subjects=subjects), files=files), 400)["message"].startswith("m: ")


def form(**values):
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in (SHORT | values).items()}


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 pixels in some bytes."""
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100_000)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n", "not a valid image"),
        (image()[:2000], "damaged or truncated"),
        (image("BMP"), "is BMP"),
        (image("TIFF"), "is TIFF"),
        (image(size=(2, 200)), "too narrow"),
        (bomb(), "megapixels"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "not a valid image"),
        (b"MZ\x90\x00 a program", "not a valid image"),
        (b"\0\0\0\x20ftypisom" + bytes(100), "not a valid image"),
    ],
)
def test_uploads_are_known_by_their_content(http, content, message):
    answer = http.post("/v1/videos", data=form(), files={"input_reference": ("a.png", content, "image/png")})
    assert message in problem(answer, 400)["message"]
    character = http.post("/v1/videos/characters", data={"name": "fox"}, files={"images": ("a.png", content)})
    problem(character, 400)


def test_the_pixels_of_a_request_are_bounded(http, monkeypatch):
    monkeypatch.setattr(images, "MEGAPIXELS", 0.01)
    files = [("input_reference", (f"{number}.png", image())) for number in range(3)]
    accepted(http.post("/v1/videos", data=form(), files=files[:2]))
    assert "more than 0.01 megapixels" in problem(http.post("/v1/videos", data=form(), files=files), 400)["message"]


REFUSED = {
    "step": (5, "step: unknown field; did you mean steps?", "step"),
    "steps": ("many", "steps: ", "steps"),
    "frames": (10, "10 frames: the number must be 4k + 1", None),
    "num_frames": (13, "num_frames: means frames", "num_frames"),
    "size": ("33x32", "multiples of 16", None),
    "fps": (24, "fps: pocket makes videos of 8 frames per second", "fps"),
    "width": (32, "size: width and height must both be given", "size"),
    "model": ("sora-2", "model: the server has pocket", "model"),
    "seconds": ("soon", "seconds", "seconds"),
    "output": ("x/../../y.mp4", "output: ", "output"),
    "guidance": (float("1e400"), "not JSON", None),
    "seed": (-1, "seed: ", "seed"),
    "input_reference": ("a.png", "a.png: no such file was uploaded", None),
    "subjects": ({"fox": {"image": ["a.png"]}}, "did you mean", "subjects"),
    "character_ids": (["char_1", "char_1"], "named twice", "character_ids"),
    "negative_reference": (["data:image/png;base64,@"], "not valid base64", None),
    "reference": (["http://169.254.169.254/latest"], "not fetched", None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_field_is_named(http, name):
    value, message, param = REFUSED[name]
    content = json.dumps(SHORT | {name: value})
    error = problem(http.post("/v1/videos", content=content, headers={"Content-Type": "application/json"}), 400)
    assert message in error["message"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/v1/nothing", {}, 404),
        ("GET", "/v1/videos/video_1", {}, 404),
        ("DELETE", "/v1/videos/video_1", {}, 404),
        ("GET", "/v1/videos/..%2f..%2fjobs.sqlite/content", {}, 404),
        ("GET", "/v1/videos/video_1/events", {}, 404),
        ("GET", "/v1/videos?after=video_1", {}, 404),
        ("GET", "/v1/videos/characters/char_1", {}, 404),
        ("GET", "/v1/models/sora-2", {}, 404),
        ("POST", "/v1/videos", {"json": SHORT | {"character_ids": ["char_1"]}}, 404),
        ("PUT", "/v1/videos", {}, 405),
        ("GET", "/v1/videos?limit=0", {}, 400),
        ("GET", "/v1/videos?order=up", {}, 400),
        ("GET", "/v1/videos/video_1/content?variant=../x", {}, 400),
        ("POST", "/v1/videos", {"json": [1]}, 400),
        ("POST", "/v1/videos", {"content": b"[" * 100_000}, 400),
        ("POST", "/v1/videos", {"content": b'{"prompt": NaN}'}, 400),
        ("POST", "/v1/videos", {"content": b'{"prompt": "\\ud800"}'}, 400),
        ("POST", "/v1/videos", {"content": b"\xff\xfe"}, 400),
        ("POST", "/v1/videos", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 400),
        ("POST", "/v1/videos", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ("POST", "/v1/videos", {"json": SHORT, "headers": {"Idempotency-Key": "k" * 256}}, 400),
        ("POST", "/v1/videos", {"data": form(), "files": {"other": ("a.png", b"x")}}, 400),
        ("POST", "/v1/videos", {"data": form(), "files": {"files": ("a.png", image())}}, 400),
        ("POST", "/v1/videos/characters", {"data": {"name": "fox"}, "files": {"file": ("a.subject", b"x")}}, 400),
        ("POST", "/v1/videos/characters", {"json": {"name": "fox"}}, 400),
        ("POST", "/v1/videos", {"content": b" " * (1 << 20) + b" "}, 413),
    ],
)
def test_every_error_has_one_form(http, method, path, options, status):
    problem(http.request(method, path, **options), status)


def test_a_body_without_a_length_is_bounded(http):
    parts = (b" " * 65536 for _ in range(100))
    problem(http.post("/v1/videos", content=parts, headers={"Content-Type": "application/json"}), 413)


def test_a_full_queue_says_when_to_come_back(tmp_path):
    with application(tmp_path / "store", max_queue=1) as (http, _):
        accepted(http.post("/v1/videos", json=SHORT))
        answer = http.post("/v1/videos", json=SHORT)
        assert problem(answer, 429)["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) > 0


def test_a_fault_of_the_server_shows_nothing_of_it(tmp_path):
    with application(tmp_path / "store") as (http, store):
        with store.database.writing() as database:
            database.execute("DROP TABLE jobs")
        error = problem(http.get("/v1/videos"), 500)
    assert error["type"] == "server_error"
    assert "jobs" not in error["message"]


def test_a_key_stands_for_one_request(http):
    key = {"Idempotency-Key": "once"}
    first = accepted(http.post("/v1/videos", json=SHORT, headers=key))
    assert accepted(http.post("/v1/videos", json=SHORT, headers=key)) == first
    problem(http.post("/v1/videos", json=SHORT | {"seed": 9}, headers=key), 409)


def test_pages_follow_each_other(tmp_path):
    with application(tmp_path / "store") as (http, _):
        assert http.get("/v1/videos").json() == {
            "object": "list",
            "data": [],
            "first_id": None,
            "last_id": None,
            "has_more": False,
        }
        made = [accepted(http.post("/v1/videos", json=SHORT))["id"] for _ in range(5)]
        found, page = [], {"last_id": None, "has_more": True}
        while page["has_more"]:
            after = {} if page["last_id"] is None else {"after": page["last_id"]}
            page = http.get("/v1/videos", params={"limit": 2, "order": "asc", **after}).json()
            found += [one["id"] for one in page["data"]]
        assert found == made
        assert 250 <= int(http.get(f"/v1/videos/{made[0]}").headers["openai-poll-after-ms"]) <= 5000


def test_forms_have_tables_and_lists():
    items = [
        ("a", "1"),
        ("b[c]", "2"),
        ("b[d][]", "3"),
        ("b[d][]", "4"),
        ("e[][id]", "5"),
        ("e[][id]", "6"),
        ("f", "7"),
        ("f", "8"),
    ]
    assert nested(items) == {
        "a": "1",
        "b": {"c": "2", "d": ["3", "4"]},
        "e": [{"id": "5"}, {"id": "6"}],
        "f": ["7", "8"],
    }


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(sorted(VideoCreate.model_fields)), PLAIN, max_size=4))
def test_no_value_is_a_fault_of_the_server(http, values):
    content = json.dumps(SHORT | values).encode("utf-8", "surrogatepass")
    answer = http.post("/v1/videos", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 404), answer.text


def test_the_document_is_complete(http):
    document = http.get("/openapi.json").json()
    paths = document["paths"]
    body = paths["/v1/videos"]["post"]["requestBody"]["content"]
    fields = document["components"]["schemas"]["VideoCreate"]["properties"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert set(fields) == set(VideoCreate.model_fields)
    assert all(field.get("description") for field in fields.values())
    assert not [path for path in paths for route in paths[path].values() if "422" in route["responses"]]
    text = json.dumps(document)
    assert all(f'"{name}"' in text for name in ("Subject", "VideoCreateForm", "CharacterCreate", "Failure"))
