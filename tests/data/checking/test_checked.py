"""Only a data set that was checked, is usable and has not changed can be used."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from refilm.data import read_examples
from refilm.data.checking import keep_usable, report_paths, require_checked

from .checks import SMALL, checked
from .damaged import image, video, write


@pytest.fixture(scope="module")
def usable(tmp_path_factory) -> Path:
    """The folder of a checked manifest."""
    home = tmp_path_factory.mktemp("usable")
    write(home / "a.mp4", video(0))
    image(0).save(home / "a.png")
    image(1).save(home / "b.png")
    (home / "clips.jsonl").write_text(line() + "\n")
    assert checked(home / "clips.jsonl").usable
    return home


@pytest.fixture
def clips(usable, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(usable, tmp_path / "copy") / "clips.jsonl"


def line(**changes) -> str:
    return json.dumps({"video": "a.mp4", "caption": "a dog", "references": ["a.png"]} | changes)


def test_what_was_checked_is_given_with_its_hashes(clips):
    found = require_checked(clips)
    assert list(found.examples) == read_examples(clips)
    digests = {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (clips.parent / "a.mp4", clips.parent / "a.png")
    }
    assert found.hashes == digests
    assert found.settings == SMALL


def test_what_a_text_encoder_cuts_off_was_reported(clips):
    found = require_checked(clips)
    found.require_tokens(clips, SMALL.tokens)
    with pytest.raises(
        ValueError, match=r"checked for captions of up to 10 tokens, but this base reads 9; run: refilm data"
    ):
        found.require_tokens(clips, 9)


def test_copies_and_touched_files_are_unchanged(clips):
    os.utime(clips.parent / "a.mp4", (1, 1))
    clips.write_text(f"\n{line(caption=' a  dog ')}\n")  # says the same
    assert require_checked(clips).examples


@pytest.mark.parametrize(
    "change",
    [
        lambda clips: clips.write_text(line(caption="a cat")),
        lambda clips: clips.write_text(line(start=0.5)),
        lambda clips: clips.write_text(line(references=["b.png"])),
        lambda clips: clips.write_text(line() + "\n" + line(subject="dog")),
        lambda clips: image(1).save(clips.parent / "a.png"),
        lambda clips: flip(clips.parent / "a.mp4"),
    ],
    ids=["caption", "part", "reference", "line", "image", "video"],
)
def test_what_has_changed_must_be_checked_again(clips, change):
    change(clips)
    with pytest.raises(ValueError, match=r"has changed since the check.*; run: refilm data check .*clips\.jsonl"):
        require_checked(clips)


def flip(path: Path) -> None:
    """Another content of the same size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_never_checked_unreadable_or_unusable(clips):
    data, _ = report_paths(clips)
    whole = data.read_text()
    for content in (whole[:-9], "{}", whole.replace('"version": 1', '"version": 2')):
        data.write_text(content)
        with pytest.raises(
            ValueError, match=r"clips\.check\.json: is not a valid report of this version .*run: refilm data check"
        ):
            require_checked(clips)
    data.unlink()
    with pytest.raises(ValueError, match=r"clips\.jsonl: has not been checked; run: refilm data check .*clips\.jsonl"):
        require_checked(clips)
    clips.write_text(line() + "\n" + line(references=[]))
    checked(clips)
    with pytest.raises(ValueError, match=r"1 of 2 clips cannot be used, see .*clips\.check\.html; fix them"):
        require_checked(clips)


def test_files_outside_must_be_allowed_by_who_uses_them_too(clips):
    """A report can come with a downloaded data set."""
    (clips.parent / "inner").mkdir()
    inner = clips.parent / "inner" / "clips.jsonl"
    inner.write_text(line(video="../a.mp4", references=["../a.png"]))
    assert checked(inner, allow_outside=True).usable
    with pytest.raises(
        ValueError,
        match="was checked with --allow-outside \\(files outside its folder\\); use --allow-outside here too",
    ):
        require_checked(inner)
    assert require_checked(inner, allow_outside=True).hashes


def test_the_usable_clips_alone(clips):
    clips.write_text("\n".join([line(), "{", line(references=[]), line(start=0.1, subject="dog")]))
    report = checked(clips)
    assert keep_usable(clips, report, clips.parent / "good.jsonl") == 2
    assert [example.start for example in read_examples(clips.parent / "good.jsonl")] == [None, 0.1]
    clips.write_text(line(references=[]))
    with pytest.raises(ValueError, match="has changed since the check"):
        keep_usable(clips, report, clips.parent / "good.jsonl")
    with pytest.raises(ValueError, match=r"none of its clips can be used, so .*good\.jsonl was not written"):
        keep_usable(clips, checked(clips), clips.parent / "good.jsonl")
