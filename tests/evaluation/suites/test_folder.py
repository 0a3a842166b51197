"""A suite of the user's own: subjects times prompts, or a list of cases; errors name file, line and fix."""

from pathlib import Path

import pytest
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.metrics import METRICS
from refilm.evaluation.suites import suite_of


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "mine"
    for name in ("fox", "red_ball"):
        (place / "subjects" / name).mkdir(parents=True)
        for number in (2, 1):
            Image.new("RGB", (8, 8)).save(place / "subjects" / name / f"{number}.png")
        (place / "subjects" / name / "notes.txt").touch()
    return place


def write(folder: Path, file: str, *lines: str) -> None:
    (folder / file).write_text("".join(f"{line}\n" for line in lines))


def test_each_prompt_is_for_each_subject_in_all_controls(folder, tmp_path):
    write(folder, "prompts.txt", "a {} in the snow", "", "../../etc/passwd $(rm -rf)")
    suite = suite_of(str(folder))
    cases = suite.cases(tmp_path)
    assert suite.name == "mine"
    assert set(suite.metrics) <= set(METRICS)
    assert [case.name for case in cases[::4]] == [
        "001-fox-right",
        "001-red_ball-right",
        "003-fox-right",
        "003-red_ball-right",
    ]
    assert [case.prompt for case in cases[::4]][:2] == ["a fox in the snow", "a red ball in the snow"]
    assert {case.group for case in cases[:8]} == {"a {} in the snow"}
    right, wrong, none, scale0 = cases[:4]
    fox, ball = ([folder / "subjects" / name / f"{number}.png" for number in (1, 2)] for name in ("fox", "red_ball"))
    assert list(right.reference) == list(scale0.reference) == fox
    assert list(wrong.reference) == ball
    assert none.reference == ()
    assert {case.subject for case in cases[:4]} == {tuple(fox)}
    assert {case.seed for case in cases[:8]} == {1}


def test_a_single_subject_has_no_wrong_one(folder, tmp_path):
    write(folder, "cases.jsonl", '{"subject": "fox", "prompt": "a fox", "name": "one", "group": "g", "seed": 5}')
    for path in (folder / "subjects" / "red_ball").iterdir():
        path.unlink()
    (folder / "subjects" / "red_ball").rmdir()
    cases = suite_of(str(folder)).cases(tmp_path)
    assert [case.name for case in cases] == ["one-right", "one-none", "one-scale0"]
    assert (cases[0].group, cases[0].seed) == ("g", 5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "cases.jsonl:2: not valid JSON"),
        ('{"prompt": "a fox"}', "cases.jsonl:2: subject: "),
        ('{"subject": "fox", "prompt": ""}', "cases.jsonl:2: prompt: "),
        (
            '{"subject": "fix", "prompt": "a"}',
            r"cases.jsonl:2: subject 'fix' has no folder in subjects; did you mean fox\?",
        ),
        ('{"subject": "../..", "prompt": "a"}', "cases.jsonl:2: subject .* use fox, red_ball"),
        ('{"subject": "fox", "prompt": "a", "name": "../a"}', "cases.jsonl:2: case '../a': must be"),
        ('{"subject": "fox", "prompt": "a", "steps": 3}', "cases.jsonl:2: steps: "),
        ('{"subject": "fox", "prompt": "\\ud800"}', "cases.jsonl:2: "),
    ],
)
def test_an_invalid_line_is_named(folder, tmp_path, line, message):
    write(folder, "cases.jsonl", '{"subject": "fox", "prompt": "a fox"}', line)
    with pytest.raises(UserError, match=message):
        suite_of(str(folder)).cases(tmp_path)


def test_incomplete_folders_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"has neither prompts\.txt nor cases\.jsonl"):
        suite_of(str(folder))
    write(folder, "prompts.txt")
    with pytest.raises(UserError, match=r"prompts\.txt: has no prompts; give each a line"):
        suite_of(str(folder)).cases(tmp_path)
    write(folder, "cases.jsonl")
    with pytest.raises(UserError, match=r"has both prompts\.txt and cases\.jsonl; give one"):
        suite_of(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: has no folder subjects; put images into"):
        suite_of(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="is a folder, which contains its data"):
        suite_of(str(folder), tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a fox", "rename the folder"), ("x" * 120, "rename the folder"), ("cat", "has no images; add")],
)
def test_folders_of_subjects_have_names_and_images(folder, tmp_path, name, message):
    write(folder, "prompts.txt", "a {}")
    (folder / "subjects" / name).mkdir()
    with pytest.raises(UserError, match=message):
        suite_of(str(folder)).cases(tmp_path)
