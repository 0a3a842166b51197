import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation import server
from refilm.evaluation.case import Case
from refilm.evaluation.evaluating import chosen_cases, evaluate
from refilm.evaluation.result import Result
from refilm.evaluation.server import Server
from refilm.media import Video, open_video

FIXTURE = Path(__file__).with_name("videos_server.py")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("made") / "made.mp4"
    Video(np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), np.uint8), 8.0).save(path)
    return path


@pytest.fixture(scope="module")
def address(video):
    command = [sys.executable, str(FIXTURE), str(video)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


@pytest.fixture
def cases(tmp_path) -> list[Case]:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "red.png")
    subject = (tmp_path / "red.png",)
    right = Case("cup-right", "a cup, \x00 and \u2603", subject, subject, seed=7)
    return [right, replace(right, name="cup-none", reference=(), control="none")]


def asked(address: str, mode: str) -> list[dict]:
    with urlopen(f"{address}/{mode}/log") as response:
        return json.load(response)


def only(source: Server, case: Case, out: Path) -> str:
    """The error of a case."""
    (answer,) = source.answers([case], out)
    assert answer.case is case
    assert answer.file is None
    assert not (out / f"{case.name}.mp4").exists()
    assert answer.error is not None
    assert answer.error.isprintable()
    return answer.error


def test_a_video_is_created_polled_and_downloaded(address, cases, tmp_path, video):
    source = Server(f"{address}/good/videos", fields={"model": "tiny", "seconds": 4})
    answers = list(source.answers(cases, tmp_path / "out"))
    assert [answer.file for answer in answers] == [tmp_path / "out" / f"{case.name}.mp4" for case in cases]
    assert answers[0].file.read_bytes() == video.read_bytes()
    form, text = asked(address, "good")
    assert form["kind"].startswith("multipart/form-data")
    assert 'name="seed"\r\n\r\n7\r\n' in form["body"]
    assert "\x89PNG" in form["body"]
    assert text["kind"] == "application/json"
    assert json.loads(text["body"]) == {"prompt": cases[1].prompt, "seed": 7, "model": "tiny", "seconds": 4}


def test_the_form_is_what_web_frameworks_read(cases):
    python_multipart = pytest.importorskip("python_multipart")  # what FastAPI reads forms with
    body, kind = server.form({"prompt": cases[0].prompt}, b"\x89PNG\r\n--not a boundary")
    read = {}
    python_multipart.parse_form(
        {"Content-Type": kind, "Content-Length": str(len(body))},
        BytesIO(body),
        lambda field: read.update({field.field_name: field.value}),
        lambda file: read.update({file.field_name: (file.file_name, file.file_object.getvalue())}),
    )
    assert read[b"prompt"].decode() == cases[0].prompt
    assert read[b"input_reference"] == (b"reference.png", b"\x89PNG\r\n--not a boundary")


def test_made_videos_are_not_asked_for_again_unless_the_request_changes(address, cases, tmp_path):
    for _ in range(2):
        assert all(answer.file for answer in Server(f"{address}/again/videos").answers(cases, tmp_path / "out"))
    assert len(asked(address, "again")) == 2
    other = [cases[0], replace(cases[1], prompt="a bowl")]
    list(Server(f"{address}/again/videos").answers(other, tmp_path / "out"))
    assert [json.loads(one["body"])["prompt"] for one in asked(address, "again")[2:]] == ["a bowl"]


def test_a_link_in_place_of_a_video_is_replaced_and_not_followed(address, cases, tmp_path):
    source, out = Server(f"{address}/link/videos"), tmp_path / "out"
    list(source.answers(cases[:1], out))
    (tmp_path / "secret").write_text("keep me")
    (out / "cup-right.mp4").unlink()
    (out / "cup-right.mp4").symlink_to(tmp_path / "secret")
    (answer,) = source.answers(cases[:1], out)
    assert open_video(answer.file).frames.shape[0] == 5
    assert (tmp_path / "secret").read_text() == "keep me"


def test_a_killed_run_waits_for_the_video_that_it_asked_for(address, cases, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    source, out = Server(f"{address}/killed/videos"), tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(server, "_pause", killed)
        with pytest.raises(KeyboardInterrupt):
            list(source.answers(cases[:1], out))
    (answer,) = source.answers(cases[:1], out)
    assert answer.file
    assert len(asked(address, "killed")) == 1


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("garbage", "the connection broke: BadStatusLine"),
        ("closed", "the connection broke: RemoteDisconnected"),
        ("error", r"status 500: no \x1b[31mmemory"),
        ("html", "b'<html><body>Welcome to our proxy</body><' instead of a JSON object"),
        ("deep", "instead of a JSON object"),
        ("endless", "more than 1,048,576 bytes"),
        ("bad-id", "the server's id ../../admin is not"),
        ("failed", r"the server's status is failed: not\x0aallowed"),
        ("odd", "the server's status is ['completed']: no message"),
        ("page", "the server's content: not a video in a supported format"),
        ("empty", "the server's content: empty, not a video"),
        ("cut", "the server's content: truncated"),
        ("gone", "status 410 instead of the video"),
        ("endless-video", "more than 2,000,000 bytes"),
        ("circle", "redirected more than 3 times"),
        ("away", "redirects to 'file:///etc/passwd', which is another server"),
    ],
)
def test_a_server_that_misbehaves_is_the_error_of_its_video(mode, message, address, cases, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "MAX_VIDEO", 2_000_000)
    error = only(Server(f"{address}/{mode}/videos", seconds=20), cases[0], tmp_path / "out")
    assert message in error
    assert not list((tmp_path / "out").iterdir()), "a failed video is asked for again in the next run"


@pytest.mark.parametrize("mode", ["short", "broken-poll", "broken-content"])
def test_a_server_that_is_away_for_long_is_asked_for_the_same_video_in_the_next_run(
    mode, address, cases, tmp_path, monkeypatch
):
    monkeypatch.setattr(server, "PATIENCE", 0)
    for _ in range(2):
        error = only(Server(f"{address}/{mode}/videos", seconds=20), cases[0], tmp_path / "out")
        assert re.search("ended after|connection broke|status 500", error)
    assert len(asked(address, mode)) == 1


@pytest.mark.parametrize("mode", ["restarted", "restarted-content"])
def test_a_server_that_is_away_for_a_moment_is_asked_again_and_makes_one_video(mode, address, cases, tmp_path, video):
    (answer,) = Server(f"{address}/{mode}/videos", seconds=20).answers(cases[:1], tmp_path / "out")
    assert answer.file.read_bytes() == video.read_bytes()
    assert len(asked(address, mode)) == 1


@pytest.mark.parametrize("mode", ["hang", "drip", "drip-headers", "stuck"])
def test_a_video_takes_no_longer_than_allowed(mode, address, cases, tmp_path):
    started = time.monotonic()
    error = only(Server(f"{address}/{mode}/videos", seconds=1), cases[0], tmp_path / "out")
    assert "in time" in error
    assert time.monotonic() - started < 5


def test_a_busy_server_is_asked_again_and_a_redirect_on_it_is_followed(address, cases, tmp_path):
    for mode in ("busy", "moved", "signed", "latin"):
        (answer,) = Server(f"{address}/{mode}/videos").answers(cases[:1], tmp_path / mode)
        assert answer.file


def test_an_error_of_one_video_does_not_end_the_others(address, cases, tmp_path):
    missing = replace(cases[0], name="missing", reference=(tmp_path / "gone.png",))
    answers = list(Server(f"{address}/good/videos").answers([missing, *cases], tmp_path / "out"))
    assert [bool(answer.file) for answer in answers] == [False, True, True]
    assert "gone.png" in (answers[0].error or "")


def test_every_failure_is_counted_in_the_result(address, grays, tmp_path):
    suite, source = grays.Grays(), Server(f"{address}/failed/videos")
    cases = chosen_cases(suite, tmp_path)
    (result,) = (one for one in evaluate(suite, source, cases, tmp_path) if isinstance(one, Result))
    assert [video.control for video in result.videos] == ["right", "wrong", "none"] * 3
    assert {video.error for video in result.videos} == {r"the server's status is failed: not\x0aallowed"}
    assert all(video.scores["brightness"] == 0 for video in result.videos)
    assert result.source.details["address"] == f"{address}/failed/videos"
    assert "9 of 9 videos are missing" in result.warnings[0]


@pytest.mark.parametrize(
    ("mode", "message"), [("token", "status 401: who are you\\?; set REFILM_SERVER_TOKEN"), ("nothing", "status 404")]
)
def test_a_server_that_refuses_everything_ends_the_evaluation(mode, message, address, cases, tmp_path):
    with pytest.raises(UserError, match=message):
        list(Server(f"{address}/{mode}/videos").answers(cases, tmp_path / "out"))


def test_a_server_that_does_not_run_ends_the_evaluation(cases, tmp_path):
    with pytest.raises(UserError, match=r"no connection .* check the address"):
        list(Server("http://127.0.0.1:9/v1/videos").answers(cases, tmp_path / "out"))


def test_the_token_is_sent_and_written_nowhere(address, cases, tmp_path, monkeypatch):
    monkeypatch.setenv("REFILM_SERVER_TOKEN", "sesame-42")
    source, out = Server(f"{address}/error/videos"), tmp_path / "out"
    error = only(source, cases[0], out)
    assert asked(address, "error")[-1]["token"] == "Bearer sesame-42"
    assert "Bearer TOKEN" in error
    list(Server(f"{address}/good/videos").answers(cases, out))
    written = [source.record().model_dump_json(), error, *(path.read_text("latin-1") for path in out.iterdir())]
    assert not any("sesame" in text for text in written)
    with pytest.raises(UserError, match="unencrypted; use https"):
        Server("http://example.org/v1/videos")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "videos", "http://", "http://host:99999/", "http://me:secret@host/", "http://host/?key=1"],
)
def test_addresses_that_are_none_or_contain_secrets_are_refused(url):
    with pytest.raises(UserError, match="address") as caught:
        Server(url)
    assert "secret" not in str(caught.value)
