"""Videos that were made elsewhere: by name in a folder, or in a list; errors belong to cases, not to the whole."""

import json

import pytest

from refilm.errors import UserError
from refilm.evaluation.case import Case
from refilm.evaluation.collecting import Videos

CASES = [Case("a-right", "../../etc/passwd", ()), Case("b-right", "a\0b", ())]


def answers(path, cases=CASES):
    return list(Videos(path).answers(cases, path))


def listed(folder, *lines):
    path = folder / "list.jsonl"
    path.write_text("".join(line if isinstance(line, str) else f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".mkv"])
def test_files_are_found_by_their_case(tmp_path, suffix):
    (tmp_path / f"a-right{suffix}").touch()
    one, other = answers(tmp_path)
    assert (one.file, one.error) == (tmp_path / f"a-right{suffix}", None)
    assert other.file is None
    assert other.error == f"missing: there is no b-right.mp4 in {tmp_path}"


def test_two_files_of_a_case_are_an_error(tmp_path):
    (tmp_path / "a-right.mp4").touch()
    (tmp_path / "a-right.gif").touch()
    assert answers(tmp_path)[0].error == "several files: a-right.gif, a-right.mp4; keep one"


@pytest.mark.parametrize("name", ["a-right.MP4", "a-right.m4v", "a-right.WebM"])
def test_suffixes_in_capitals_and_of_other_programs_are_found(tmp_path, name):
    (tmp_path / name).touch()
    assert answers(tmp_path)[0].file == tmp_path / name


def test_a_list_names_files(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.mp4").touch()
    path = listed(tmp_path, {"case": "a-right", "file": "in/one.mp4"}, "\n", {"case": "beyond-limit", "file": "x.mp4"})
    one, other = answers(path)
    assert one.file == tmp_path / "in" / "one.mp4"
    assert other.error is not None


@pytest.mark.parametrize("file", ["../secret.mp4", "/etc/passwd", "link.mp4", "in/../../secret.mp4"])
def test_files_outside_of_the_folder_are_refused(tmp_path, file):
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "in").mkdir()
    (tmp_path / "secret.mp4").touch()
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (answer, _) = answers(listed(folder, {"case": "a-right", "file": file}))
    assert answer.file is None
    assert "outside of" in answer.error


@pytest.mark.parametrize("file", ["", ".", "x" * 4000, "a\0b", "none.mp4"])
def test_paths_of_no_file_are_errors_of_their_case(tmp_path, file):
    (answer, _) = answers(listed(tmp_path, {"case": "a-right", "file": file}))
    assert answer.file is None
    assert answer.error


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ({"case": "a-right"}, 'file: .*give {"case"'),
        ({"case": "a-right", "file": 3}, "file: "),
        ({"case": "a-right", "file": "a.mp4", "fps": 3}, "fps: "),
    ],
    ids=["broken", "no object", "no file", "number", "unknown"],
)
def test_an_invalid_line_is_named(tmp_path, line, message):
    path = listed(tmp_path, {"case": "b-right", "file": "b.mp4"}, line)
    with pytest.raises(UserError, match=rf"list.jsonl:2: .*{message}|list.jsonl:2: {message}"):
        answers(path)


def test_a_folder_without_any_video_is_refused(tmp_path):
    (tmp_path / "0001.mp4").touch()
    with pytest.raises(UserError, match=r"has no video of any case; name the videos a-right\.mp4 and so on"):
        answers(tmp_path)


@pytest.mark.parametrize("name", ["missing", "file.txt"])
def test_only_folders_and_lists_are_sources(tmp_path, name):
    (tmp_path / "file.txt").touch()
    with pytest.raises(UserError, match="neither a folder nor a list"):
        Videos(tmp_path / name)
