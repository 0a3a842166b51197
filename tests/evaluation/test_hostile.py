"""Hostile prompts and videos: each is counted and named, none is dropped, and nothing is written or read elsewhere."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.collecting import Videos
from refilm.evaluation.evaluating import chosen_cases, evaluate
from refilm.evaluation.metrics import METRICS
from refilm.evaluation.output import read_result, write_result
from refilm.evaluation.result import Result, ScoredVideo
from refilm.evaluation.suites.folder import Folder
from refilm.media import Video

from .suite import Brightness, write_gray

PROMPTS = (
    "../../../etc/passwd",
    "..\\..\\windows\\system32",
    "/absolute/path.mp4",
    "a critter\x1b[31m in red\x07",
    "nothing \x00 here",
    "x" * 60_000,
    '<script>alert(1)</script> & "quotes" \'',
    "| a | table | **bold** [link](javascript:alert(1))",
    "{0.__class__} {} %s ${HOME} `id`",
    "\u202eevil\u2028line\u2029",
    "\U0001f98a" * 100,
    "CON",
)


class Hostile(Folder):
    """The suite in a folder, with a metric that needs no encoder."""

    metrics = ("brightness",)


@pytest.fixture
def suite(tmp_path, grays) -> Hostile:
    for name, color in {"fox": "red", "ball": "blue"}.items():
        (tmp_path / "suite" / "subjects" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), color).save(tmp_path / "suite" / "subjects" / name / "1.png")
    rows = [{"subject": "fox", "prompt": prompt} for prompt in PROMPTS]
    (tmp_path / "suite" / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Hostile(tmp_path / "suite")


def spoiled(folder: Path, names: list[str]) -> dict[str, str]:
    """Write a video of each kind; returns what its error must contain, or nothing for the good one, by case."""
    good, missing, empty, noise, cut, short, page, place, loop, outside, pipe, huge = names
    write_gray(folder / f"{good}.mp4", 200)
    (folder / f"{empty}.mp4").touch()
    (folder / f"{noise}.mp4").write_bytes(os.urandom(5000))
    whole = (folder / f"{good}.mp4").read_bytes()
    (folder / f"{cut}.mp4").write_bytes(whole[: len(whole) // 2])
    write_gray(folder / f"{short}.mp4", 200, frames=1)
    (folder / f"{page}.mp4").write_text("<html>not found</html>")
    (folder / f"{place}.mp4").mkdir()
    (folder / f"{loop}.mp4").symlink_to(folder / f"{loop}.mp4")
    (folder.parent / "secret.mp4").write_bytes(whole)
    (folder / f"{outside}.mp4").symlink_to(folder.parent / "secret.mp4")
    os.mkfifo(folder / f"{pipe}.mp4")
    (folder / f"{huge}.gif").write_bytes(b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + b"\x2c" + bytes(4) + b"\xff" * 4)
    return {
        good: "",
        missing: "missing",
        empty: "empty, not a video",
        noise: "not a video",
        cut: "truncated",
        short: "",
        page: "not a video",
        place: "missing",
        loop: "",
        outside: "outside of",
        pipe: "missing",
        huge: "",
    }


def test_every_video_is_counted_and_every_failure_named(suite, tmp_path):
    out, videos = tmp_path / "out", tmp_path / "videos"
    videos.mkdir()
    cases = chosen_cases(suite, out, controls=("right",))
    assert [case.prompt for case in cases] == list(PROMPTS)
    errors = spoiled(videos, [case.name for case in cases])
    (result,) = (one for one in evaluate(suite, Videos(videos), cases, out) if isinstance(one, Result))
    assert [video.case for video in result.videos] == [case.name for case in cases]
    for video, error in zip(result.videos, errors.values(), strict=True):
        assert error in (video.error or "")
    good, short = result.videos[0], result.videos[5]
    assert good.error is None
    assert short.errors == {"brightness": "1 frames are fewer than 3"}
    failed = [video for video in result.videos if video is not good]
    assert all(video.error or video.errors for video in failed)
    assert all(video.scores == {"brightness": 0, "bright": 0} for video in failed)
    assert "10 of 12 videos are missing or cannot be read" in result.warnings[0]


def test_the_files_of_a_result_are_in_its_folder_and_run_no_code(suite, tmp_path):
    out, videos = tmp_path / "out", tmp_path / "videos"
    videos.mkdir()
    cases = chosen_cases(suite, out, controls=("right",))
    spoiled(videos, [case.name for case in cases])
    before = {path for path in tmp_path.rglob("*") if out not in (path, *path.parents)}
    (result,) = (one for one in evaluate(suite, Videos(videos), cases, out) if isinstance(one, Result))
    write_result(result, out)
    assert {path for path in tmp_path.rglob("*") if out not in (path, *path.parents)} == before
    assert read_result(out) == result
    page = (out / "index.html").read_text()
    assert "<script>alert(1)" not in page
    assert "javascript:alert(1)</a>" not in page
    table = (out / "table.md").read_text()
    assert "\x1b" not in table


@pytest.mark.parametrize("metric", ["brightness", "brightness_segment"])
def test_a_mask_that_cannot_be_read_is_the_error_of_the_metrics_that_need_it(suite, tmp_path, monkeypatch, metric):
    out, videos = tmp_path / "out", tmp_path / "videos"
    videos.mkdir()
    cases = chosen_cases(suite, out, controls=("right",), limit=2)
    monkeypatch.setitem(METRICS, "brightness_segment", METRICS["brightness"])
    for case in cases:
        write_gray(videos / f"{case.name}.mp4", 200)
    (videos / f"{cases[0].name}.mask.mp4").write_text("<html>not found</html>")
    events = evaluate(suite, Videos(videos), cases, out, metrics=[metric])
    (result,) = (one for one in events if isinstance(one, Result))
    broken, good = result.videos
    assert (broken.error, good.error, good.errors) == (None, None, {})
    assert broken.errors.keys() == ({metric} if metric.endswith("_segment") else set())
    assert all("not a video" in error for error in broken.errors.values())


@pytest.mark.parametrize("content", ["", "{}", '{"scores": {"bright": 1}}', '{"scores": 3}'])
def test_damaged_scores_are_computed_again(suite, tmp_path, content):
    out, videos = tmp_path / "out", tmp_path / "videos"
    videos.mkdir()
    cases = chosen_cases(suite, out, controls=("right",), limit=1)
    write_gray(videos / f"{cases[0].name}.mp4", 200)
    results = []
    for _ in range(2):
        results += [one for one in evaluate(suite, Videos(videos), cases, out) if isinstance(one, Result)]
        (stored,) = (out / ".scores").iterdir()
        stored.write_text(content)
    assert results[0].videos == results[1].videos


def of_one_video(suite, video: Path, out: Path) -> ScoredVideo:
    """A case with a video, scored beside a good one."""
    cases = chosen_cases(suite, out, controls=("right",), limit=2)
    video.rename(video.with_name(f"{cases[0].name}.mp4"))
    write_gray(video.with_name(f"{cases[1].name}.mp4"), 200)
    (result,) = (one for one in evaluate(suite, Videos(video.parent), cases, out) if isinstance(one, Result))
    assert result.videos[1].error is None
    assert not result.videos[1].errors
    return result.videos[0]


def test_a_strip_which_would_be_scaled_to_gigabytes_is_the_error_of_its_video(suite, tmp_path):
    strip = tmp_path / "videos" / "strip.mp4"
    strip.parent.mkdir()
    Video(np.zeros((3, 2, 4096, 3), np.uint8), 8).save(strip, scale=1)
    assert "4096 x 2 pixels; the longer side may be at most 16 times the shorter" in (
        of_one_video(suite, strip, tmp_path / "out").error or ""
    )


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("OpenCV: (-4:Insufficient memory) Failed to allocate")])
def test_too_little_memory_is_the_error_of_a_video_which_is_scored_again(suite, tmp_path, monkeypatch, error):
    large = tmp_path / "videos" / "large.mp4"
    large.parent.mkdir()
    write_gray(large, 100, frames=7)
    score = Brightness.score

    def exhausted(self, sample):
        if len(sample.frames) == 7:
            raise error
        return score(self, sample)

    with monkeypatch.context() as patched:
        patched.setattr(Brightness, "score", exhausted)
        assert of_one_video(suite, large, tmp_path / "out").error
    cases = chosen_cases(suite, tmp_path / "out", controls=("right",), limit=2)
    again = [one for one in evaluate(suite, Videos(large.parent), cases, tmp_path / "out") if isinstance(one, Result)]
    assert again[0].videos[0].error is None


@pytest.mark.parametrize("bad", ["suite", "out"])
def test_names_that_are_not_utf8_are_refused_before_anything_is_scored(suite, tmp_path, bad):
    places = {"suite": suite.folder, "out": tmp_path / "out", bad: tmp_path / os.fsdecode(b"caf\xe9")}
    if bad == "suite":
        suite.folder.rename(places["suite"])
    moved = Hostile(places["suite"])
    cases = chosen_cases(moved, places["out"], controls=("right",))
    with pytest.raises(UserError, match="is not UTF-8; rename"):
        list(evaluate(moved, Videos(tmp_path), cases, places["out"]))


@pytest.mark.parametrize("name", ["../out", "..", ".hidden", "a/b", "a\\b", "a\0", "a\n", "\u202ea", "x" * 141])
def test_names_of_cases_never_leave_the_folder(suite, name):
    row = {"subject": "fox", "prompt": "p", "name": name}
    (suite.folder / "cases.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match=r"cases\.jsonl:1: "):
        suite.cases(suite.folder)


@pytest.mark.parametrize("prompt", ["\ud800", "x" * 70_000, ""])
def test_prompts_that_no_result_can_contain_are_refused_with_their_line(suite, prompt):
    (suite.folder / "cases.jsonl").write_text(json.dumps({"subject": "fox", "prompt": prompt}))
    with pytest.raises(UserError, match=r"cases\.jsonl:1: "):
        suite.cases(suite.folder)
