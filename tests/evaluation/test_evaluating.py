"""From a suite and videos to a result: every case is in it, whatever became of its video."""

import json
from pathlib import Path

import pytest

from refilm.errors import UserError
from refilm.evaluation.case import Case
from refilm.evaluation.collecting import Videos
from refilm.evaluation.evaluating import chosen_cases, evaluate
from refilm.evaluation.result import Result, ScoredVideo


def run(suite, source, out: Path, **chosen) -> Result:
    *scored, result = evaluate(suite, source, chosen_cases(suite, out, **chosen), out)
    assert isinstance(result, Result)
    assert sorted(one.case for one in scored) == sorted(one.case for one in result.videos)
    return result


@pytest.fixture
def videos(grays, tmp_path) -> Path:
    """A video of each case: bright with the right reference, dark otherwise."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for case in grays.Grays().cases(tmp_path / "subjects"):
        grays.write_gray(folder / f"{case.name}.mp4", 200 if case.control == "right" else 40)
    return folder


def by_name(result: Result) -> dict[str, ScoredVideo]:
    return {video.case: video for video in result.videos}


def test_every_video_is_scored_in_the_order_of_the_cases(grays, videos, tmp_path):
    suite = grays.Grays()
    result = run(suite, Videos(videos), tmp_path / "out")
    assert [video.case for video in result.videos] == [case.name for case in suite.cases(tmp_path / "again")]
    first = result.videos[0]
    assert first.scores["brightness"] == pytest.approx(200 / 255, abs=0.02)
    assert first.scores["bright"] == 1
    assert len(first.curves["brightness"]) == 4
    assert "bright" not in first.curves
    assert first.notes == {"width": 32, "height": 32, "frames": 4, "fps": 8.0}
    assert (tmp_path / "out" / first.file).samefile(videos / "00-right.mp4")
    assert (tmp_path / "out" / first.subject[0]).is_file()
    assert result.source.kind == "folder"
    assert result.warnings == ("12 videos are gray",)
    assert Result.from_values(json.loads(json.dumps(result.to_values()))) == result


def test_an_absent_metric_has_a_reason_and_no_values(grays, videos, tmp_path):
    result = run(grays.Grays(), Videos(videos), tmp_path / "out")
    assert result.metrics["depth"].absent == "its encoder is not installed; install it"
    assert result.metrics["depth"].columns[0].name == "depth"
    assert all(set(video.scores) == {"brightness", "bright"} for video in result.videos)


def test_without_any_metric_nothing_is_made(grays, tmp_path):
    suite = grays.Grays()
    suite.metrics = ("depth",)
    with pytest.raises(UserError, match=r"none of its metrics can run here: depth: its encoder is not installed"):
        run(suite, Videos(tmp_path), tmp_path / "out")


def test_failures_are_counted_with_the_worst_values(grays, videos, tmp_path):
    (videos / "00-right.mp4").unlink()
    (videos / "01-right.mp4").write_bytes(b"no video")
    grays.write_gray(videos / "02-right.mp4", 200, frames=2)
    (videos / "00-wrong.mp4").write_bytes((videos / "00-none.mp4").read_bytes()[:400])
    (videos / "01-wrong.mp4").write_bytes(b"")
    (videos / "02-wrong.mp4").unlink()
    (videos / "02-wrong.mp4").mkdir()
    result = run(grays.Grays(), Videos(videos), tmp_path / "out")
    found = by_name(result)
    for name, error in {
        "00-right": "missing: there is no 00-right.mp4 in",
        "01-right": "01-right.mp4: ",
        "00-wrong": "00-wrong.mp4: ",
        "01-wrong": "01-wrong.mp4: ",
        "02-wrong": "missing",
    }.items():
        assert found[name].error is not None, name
        assert error in found[name].error
        assert found[name].scores == {"brightness": 0.0, "bright": 0.0}
    assert found["02-right"].error is None
    assert found["02-right"].errors == {"brightness": "2 frames are fewer than 3"}
    assert found["02-right"].scores == {"brightness": 0.0, "bright": 0.0}
    assert len(result.videos) == 12
    assert result.warnings[0].startswith("5 of 12 videos are missing or cannot be read")


def test_scores_are_computed_once(grays, videos, tmp_path):
    suite, scored = grays.Grays(), grays.Brightness.scored
    first = run(suite, Videos(videos), tmp_path / "out")
    assert len(scored) == 12
    assert run(suite, Videos(videos), tmp_path / "out").videos == first.videos
    assert len(scored) == 12
    grays.write_gray(videos / "00-right.mp4", 90)
    run(suite, Videos(videos), tmp_path / "out")
    assert scored[12:] == ["00-right"]


def test_other_metrics_are_computed_again(grays, videos, tmp_path, monkeypatch):
    run(grays.Grays(), Videos(videos), tmp_path / "out")
    monkeypatch.setattr(grays.Brightness, "__init__", lambda self, device: setattr(self, "identity", {"frames": "8"}))
    run(grays.Grays(), Videos(videos), tmp_path / "out")
    assert len(grays.Brightness.scored) == 24


def test_cases_are_chosen_by_control_and_group(grays, tmp_path):
    names = [case.name for case in chosen_cases(grays.Grays(), tmp_path, controls=("right", "none"), limit=2)]
    assert names == ["00-right", "00-none", "01-right", "01-none"]
    one = grays.Grays()
    one.cases = lambda folder: [Case("a", "a prompt", ())]
    with pytest.raises(UserError, match="grays: has no case with control scale0"):
        chosen_cases(one, tmp_path, controls=("scale0",))


def test_cases_with_the_same_name_are_refused(grays, tmp_path):
    suite = grays.Grays()
    suite.cases = lambda folder: [Case("a", "one", ()), Case("A", "two", ())]
    with pytest.raises(UserError, match="case A: two cases"):
        chosen_cases(suite, tmp_path)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b", "a\n", "x" * 151, "ä"])
def test_names_of_cases_are_names_of_files(name):
    with pytest.raises(UserError, match="names a file"):
        Case(name, "a prompt", ())


def test_the_hash_of_the_cases_is_that_of_their_content(grays, videos, tmp_path):
    first = run(grays.Grays(), Videos(videos), tmp_path / "out")
    assert run(grays.Grays(), Videos(videos), tmp_path / "other", controls=("right",)).suite == first.suite
    assert run(grays.Grays(), Videos(videos), tmp_path / "other", limit=2).suite.cases != first.suite.cases
