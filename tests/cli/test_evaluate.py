"""`refilm evaluate` makes or finds the videos of a suite and writes a result; `compare` says what is real."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.data import critters
from refilm.evaluation.output import read_result
from refilm.evaluation.suites.critters import Critters
from refilm.media import Video

JUDGE = ("--metrics", "critters")
TINY = ("--limit", 1, "--controls", "right,scale0", "--steps", 1, "--frames", 9)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def real(tmp_path) -> Path:
    """Real clips as videos of the first 12 pairs of critters; the second is missing."""
    folder = tmp_path / "real"
    folder.mkdir()
    for index in {*range(12)} - {1}:
        clip = critters.render(critters.story(0, index, "held_out"), np.random.default_rng((0, index, 1)))
        Video(clip, 8).save(folder / f"{index:03}-right.mp4")
    return folder


def test_a_model_is_evaluated(refilm, tiny_base):
    result = refilm("evaluate", "critters", "-o", "out", "--base", tiny_base, *TINY)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("out: result.json, table.md, index.html, plots/means.svg")
    found = read_result(Path("out"))
    assert list(found.metrics) == ["critters", "efficientnet_i", "copy_paste", "motion"]
    assert not any(metric.absent for metric in found.metrics.values())
    assert [video.case for video in found.videos] == ["000-right", "000-scale0"]
    assert found.videos[0].notes["frames"] == 9
    assert found.source.details["steps"] == 1
    before = [path.stat().st_mtime_ns for path in Path("out/videos").glob("*.mp4")]
    assert refilm("evaluate", "run", "critters", "-o", "out", "--base", tiny_base, *TINY).exit_code == 0
    assert [path.stat().st_mtime_ns for path in Path("out/videos").glob("*.mp4")] == before
    assert read_result(Path("out")).videos == found.videos


def test_videos_made_elsewhere_are_evaluated_and_compared(refilm, real):
    words = ("evaluate", "critters", *JUDGE, "--videos", real, "--controls", "right", "--limit", 12)
    result = refilm(*words, "-o", "one")
    assert result.exit_code == 0, result.output
    assert "001-right: missing: there is no 001-right.mp4" in result.stderr
    assert "note: 1 of 12 videos are missing" in result.stderr
    scores = {video.case: video.scores["all"] for video in read_result(Path("one")).videos}
    assert scores.pop("001-right") == 0
    assert sum(scores.values()) >= 9  # the judge does not know the stars of 003 and 004
    compared = refilm("evaluate", "compare", "one", "one/result.json")
    assert compared.exit_code == 0, compared.output
    found = read_result(Path("one"))
    assert list(found.metrics) == ["critters"]
    assert compared.stdout.count("no difference shown") == len(found.videos[0].scores)
    refilm(*words[:-1], 11, "-o", "two")
    other = refilm("evaluate", "compare", "one", "two")
    assert other.exit_code == 2
    assert other.stderr.startswith("error: these results cannot be compared: suite cases: ")


def test_a_metric_of_another_suite_is_refused(refilm, real):
    Path("mine/subjects/fox").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save("mine/subjects/fox/1.png")
    Path("mine/prompts.txt").write_text("a {}")
    result = refilm("evaluate", "mine", "-o", "out", "--videos", real, "--metrics", "critters")
    assert result.exit_code == 2
    assert "metric critters: scores only suites that have it; mine has efficientnet_i" in result.stderr


def test_the_list_of_cases_is_jsonl_for_other_programs(refilm):
    result = refilm("evaluate", "critters", "-o", "out", "--limit", 2, "--list")
    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["case"] for row in rows] == [case.name for case in Critters().cases(Path("x"))[:8]]
    assert rows[0]["file"] == "000-right.mp4"
    assert Image.open(rows[0]["reference"][0]).size == (64, 64)
    assert rows[2]["reference"] == []
    assert not Path("out/result.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere: neither a suite nor a folder"),
        (("criters",), "did you mean critters?"),
        (("critters", "--controls", "right,left"), "--controls 'left': unknown"),
        (("critters", "--videos", "real", "--metrics", " ,"), "--metrics: names no metric"),
        (("critters", "--videos", "real", "--metrics", "critters,beauty"), "metric: 'beauty' is unknown; use critters"),
        (("critters", "--videos", "real", "--url", "http://127.0.0.1:1"), "give one of them"),
        (("critters", "--videos", "real", "--steps", 3, "--seed", 2), "--steps, --seed: the videos are made elsewhere"),
        (("critters", "--adapter", "none"), "a reference needs an adapter"),
        (("critters", "--data", "real"), "remove --data"),
        (("critters", "--size", "8"), "--size '8'"),
        (("critters", "--url", "x", "--field", "model"), "--field 'model': give NAME=VALUE"),
        (
            ("critters", "--controls", "scale0", "--url", "http://127.0.0.1:9"),
            "has only the controls right, wrong, none",
        ),
        (("critters", "--url", "http://127.0.0.1:9/v", "--field", f"x={'y' * 70_000}"), "at most 65536 characters"),
        (("critters", "--url", "http://127.0.0.1:9/v", "--field", "x=nan", "--limit", 1), "no connection"),
        (("critters", "--url", "http://127.0.0.1:9/v", "--field", f"x={'9' * 400}", "--limit", 1), "no connection"),
        (("compare", "real", "real"), "result.json: no such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_invalid_options_are_refused(refilm, real, words, message):
    output = () if words[0] == "compare" else ("-o", "out")
    result = refilm("evaluate", *words, *output)
    assert result.exit_code == 2
    assert message in result.stderr
