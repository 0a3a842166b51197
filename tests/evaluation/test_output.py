"""The table, the plots and the page of a result."""

import re
import sys
from base64 import b64decode

import numpy as np
import pytest

from refilm.errors import UserError
from refilm.evaluation import page as page_module
from refilm.evaluation.case import Case
from refilm.evaluation.collecting import Videos
from refilm.evaluation.evaluating import chosen_cases, evaluate
from refilm.evaluation.output import markdown_of, read_result, write_result
from refilm.evaluation.page import page, ranked
from refilm.evaluation.plots import course
from refilm.evaluation.result import ColumnRecord, Result, ScoredVideo
from refilm.evaluation.table import shown, table_of
from refilm.media import Video, open_video

EVIL = '</style><script>alert(1)</script>"><img src=x onerror=alert(1)>|\n`'


@pytest.fixture
def result(grays, tmp_path) -> Result:
    """Of three prompts: bright, less bright, missing."""
    suite, folder = grays.Grays(), tmp_path / "made"
    folder.mkdir()
    suite.version = EVIL
    for case in (cases := chosen_cases(suite, tmp_path)):
        if case.control != "right" or case.seed < 2:
            grays.write_gray(folder / f"{case.name}.mp4", 240 - 60 * case.seed if case.control == "right" else 20)
    *_, result = evaluate(suite, Videos(folder), [_evil(case) for case in cases], tmp_path)
    return result


def _evil(case: Case) -> Case:
    return Case(case.name, EVIL, case.subject, case.reference, case.control, case.group, case.seed)


def test_the_table_counts_failures_in_every_mean(result):
    table = table_of(result)
    assert table.head == ("", "right reference", "wrong reference", "no reference", "scale 0")
    rows = {row[0]: row[1:] for row in table.rows}
    bright = (240 + 180 + 0) / 3 / 255
    assert float(rows["brightness ↑"][0].split()[0]) == pytest.approx(bright, abs=0.01)
    assert rows["bright ↑ %"][0].split()[0] == "66.7"
    assert rows["bright ↑ %"][1] == "0.0"  # 3 groups show no interval
    assert rows["failed videos"] == ("1 of 3", "0 of 3", "0 of 3", "0 of 3")


def test_markdown_names_what_is_absent_and_failed(result):
    text = markdown_of(result)
    assert "- 1 of 12 videos are missing or cannot be read" in text
    assert "- depth is absent: its encoder is not installed; install it" in text
    assert all(line.startswith(("|", "- ")) for line in text.splitlines() if line)


def test_a_result_is_written_and_read(result, tmp_path):
    files = write_result(result, tmp_path)
    assert [str(file.relative_to(tmp_path)) for file in files] == [
        "result.json",
        "table.md",
        "index.html",
        "plots/means.svg",
        "plots/brightness-over-time.svg",
    ]
    assert read_result(tmp_path) == read_result(tmp_path / "result.json") == result
    assert write_result(result, tmp_path) == files


@pytest.mark.parametrize(
    ("content", "message"),
    [("{}", "not the result of an evaluation: suite: "), ('{"format": 2}', "has format 2"), ("[]", "JSON object")],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=rf"result.json: .*{message}"):
        read_result(tmp_path)


def test_the_page_is_one_file_that_escapes_everything(result, tmp_path):
    write_result(result, tmp_path)
    html = (tmp_path / "index.html").read_text()
    assert EVIL not in html
    assert "<script" not in html
    assert html.count("</style>") == 1
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert len(sources) > 10
    assert all(source.startswith("data:") for source in sources)
    assert "default-src 'none'" in html
    assert "missing: there is no 02-right.mp4" in html


def test_the_page_shows_best_median_and_worst(result, tmp_path):
    html = page(result, tmp_path, {})
    assert re.findall(r"<h3>(.*?)</h3>", html) == ["Best: 00-right", "Median: 01-right", "Worst: 02-right"]
    assert html.count("<video ") == 3 * 4 - 1


def test_without_matplotlib_the_page_says_so(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    files = write_result(result, tmp_path)
    assert [file.name for file in files] == ["result.json", "table.md", "index.html"]
    assert "plots need matplotlib; install it with `pip install refilm[eval]`" in files[2].read_text()


def video(number: int, value: float, error: str | None = None, curve: tuple[float, ...] = ()) -> ScoredVideo:
    return ScoredVideo(
        case=str(number),
        control="right",
        group="",
        prompt="",
        seed=0,
        subject=(),
        scores={"a": value},
        error=error,
        curves={"a": curve} if curve else {},
    )


def test_videos_are_ranked_by_the_direction_of_the_column():
    videos = [video(0, 0.5), video(1, 0.9), video(2, 0.0, error="missing"), video(3, 0.1)]
    for higher, order in ((True, "1032"), (False, "3012")):
        column = ColumnRecord(name="a", description="", worst=0, higher=higher)
        assert "".join(one.case for one in ranked(videos, column)) == order


def test_curves_of_any_length_have_the_same_moments():
    found = course([video(0, 0, curve=(0.0, 1.0)), video(1, 0, curve=(0.0, 0.5, 1.0)), video(2, 0)], "a")
    np.testing.assert_allclose(found, np.linspace([0, 0], [1, 1], 20).T)


def test_means_are_shown_with_their_unit():
    from refilm.evaluation.intervals import Interval

    hit = ColumnRecord(name="a", description="", worst=0, hit=True)
    assert shown(Interval(0.935, 0.89, 0.961, 9, 9), hit) == "93.5 (89.0–96.1)"
    assert shown(Interval(0.5, None, None, 1, 1), hit.model_copy(update={"hit": False})) == "0.500"


def test_a_large_video_and_one_of_another_format_than_its_name_are_converted_for_the_page(
    result, tmp_path, monkeypatch
):
    monkeypatch.setattr(page_module, "LARGEST", 20_000)
    monkeypatch.setattr(page_module, "VIDEO_FRAMES", 4)
    noise = Video(np.random.default_rng(0).integers(0, 255, (6, 512, 512, 3), np.uint8), 24)
    (large,) = noise.save(tmp_path / "large.mp4", scale=1)
    assert large.stat().st_size > page_module.LARGEST
    (odd,) = Video(noise.frames[:3], 8).save(tmp_path / "odd.webm", scale=1)
    files = {"large.mp4", odd.rename(tmp_path / "odd.mp4").name}
    first = result.videos[0]
    for name in files:
        one = result.model_copy(update={"videos": (first.model_copy(update={"file": name}),)})
        html = page(one, tmp_path, {})
        assert html.count("<video") == 1, "best, median and worst are the same"
        (encoded,) = re.findall(r'<video src="data:video/mp4;base64,([^"]*)"', html)
        (tmp_path / "shown.mp4").write_bytes(b64decode(encoded))
        shown = open_video(tmp_path / "shown.mp4").frames
        assert shown.shape[1:] == (480, 480, 3)
        assert len(shown) == min(4, len(open_video(tmp_path / name).frames))


def test_the_page_ranks_by_a_column_that_can_be_better(result, tmp_path):
    neutral = tuple(
        column.model_copy(update={"higher": None}) if column.name == "brightness" else column
        for column in result.metrics["brightness"].columns
    )
    record = result.metrics["brightness"].model_copy(update={"columns": neutral})
    changed = result.model_copy(update={"metrics": {**result.metrics, "brightness": record}})
    assert "<p>By bright with the right reference" in page(changed, tmp_path, {})
    assert "<p>By brightness with the right reference" in page(result, tmp_path, {})
