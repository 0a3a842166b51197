"""A check reports the faults of clips and nothing about valid ones."""

import importlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.data.checking import CheckSettings, read_report, require_checked
from refilm.data.critters.files import write_clips
from refilm.media import Video

from .checks import SMALL, checked, kinds
from .damaged import image, video, write


@pytest.fixture
def home(tmp_path) -> Path:
    """Two valid clips, a and b, with two images of each subject."""
    for seed, name in enumerate("ab"):
        write(tmp_path / f"{name}.mp4", video(seed))
        image(seed).save(tmp_path / f"{name}.png")
        image(seed + 10).save(tmp_path / f"{name}2.png")
    return tmp_path


def manifest(home: Path, *lines: dict) -> Path:
    """Lines given by their differences from clip a."""
    sound = {"video": "a.mp4", "caption": "a dog runs", "references": ["a.png"], "subject": "dog"}
    (home / "clips.jsonl").write_text("\n".join(json.dumps(sound | line) for line in lines))
    return home / "clips.jsonl"


def messages(report) -> list[str]:
    return [finding.message for clip in report.clips for finding in clip.findings]


def test_sound_clips_are_usable_and_nothing_is_said(home):
    report = checked(manifest(home, {}, {"video": "b.mp4", "references": ["b.png", "b2.png"], "subject": "fox"}))
    assert report.usable
    assert messages(report) == []
    assert [clip.facts for clip in report.clips] == ["h264, 96 x 64, 8 fps, 12 frames"] * 2
    assert set(report.files) == {"a.mp4", "a.png", "b.mp4", "b.png", "b2.png"}
    assert read_report(home / "clips.jsonl") == report
    assert (home / "clips.check.html").is_file()


def test_critters_are_sound(tmp_path):
    list(write_clips(tmp_path / "set", clips=12, split="train", seed=3))
    settings = CheckSettings(frames=17, fps=8, height=32, width=32, tokens=24)
    for path in (tmp_path / "set", tmp_path / "set" / "manifest.jsonl"):
        assert messages(checked(path, settings)) == []
    assert (tmp_path / "set" / "refilm.check.json").is_file()


WRONG: dict[str, tuple[dict, str, str]] = {
    "silent": ({"caption": " "}, "caption", "clips.jsonl:1: the caption is empty; describe what happens"),
    "wordy": (
        {"caption": "a " * 10},
        "long caption",
        "clips.jsonl:2: the caption has 11 tokens, but at most 10 are read; the last 1 are ignored",
    ),
    "alone": ({"references": []}, "no reference", "clips.jsonl:3: has no reference; add an image of the subject"),
    "absent": ({"video": "nowhere.mp4"}, "missing", "'nowhere.mp4' is not a file in"),
    "outside": ({"references": ["../x.png"]}, "outside", "'../x.png' is outside the manifest's folder"),
    "part": ({"start": 0.25, "end": 1.0}, "short", "part.mp4: has, from start to end, 6 frames at 8 fps"),
    "beyond": ({"start": 0.25, "end": 3.0}, "truncated", "beyond.mp4: ends 1.50 s after its start, before 3 s; fix"),
    "behind": ({"start": 2.0}, "unreadable", "behind.mp4: has no frames from 2 s on"),
    "masked": ({"mask": "short.mp4"}, "mask", "short.mp4: the mask has 4 frames, its clip 12"),
    "unmasked": ({"mask": "none.png"}, "missing", "'none.png' is not a file in"),
    "small": ({"references": ["tiny.png"]}, "size", "tiny.png: has only 20 x 13 pixels"),
    "first": ({"references": ["frame.jpg"]}, "copy", "first.mp4: reference 1 is frame 0 of its own clip"),
    "later": ({"references": ["later.png", "frame.webp"]}, "copy", "later.mp4: reference 2 is frame 5 of its own clip"),
    "twins": ({"references": ["twins.png", "twin.png"]}, "duplicate", "twin.png: is listed twice in the references"),
    "odd": ({"video": "odd.gif"}, "size", "odd.gif: 97 x 65 pixels, an odd number; crop a row or column"),
    "tall": ({}, "size", "tall.mp4: 96 x 192 pixels becomes 96 x 64, and 67 % of the image is cropped"),
    "slow": ({}, "rate", "slow.mp4: has 4 fps, fewer than 8, so frames are repeated"),
    "sound": ({}, "", ""),
}


def test_what_is_wrong_with_a_clip_is_reported(tmp_path):
    videos = {name: video(100 + number) for number, name in enumerate(WRONG)}
    for number, name in enumerate(WRONG):
        write(tmp_path / f"{name}.mp4", videos[name])
        image(100 + number).save(tmp_path / f"{name}.png")
    write(tmp_path / "short.mp4", video(5, frames=4))
    write(tmp_path / "tall.mp4", video(6, height=192))
    Video(video(7, height=72, width=104)[:, :65, :97], 8).save(tmp_path / "odd.gif", scale=1)
    Video(video(8), 4).save(tmp_path / "slow.mp4", scale=1)
    image(0).resize((20, 13)).save(tmp_path / "tiny.png")
    (tmp_path / "twin.png").write_bytes((tmp_path / "twins.png").read_bytes())
    Image.fromarray(videos["first"][0]).resize((192, 128)).save(tmp_path / "frame.jpg", quality=60)
    Image.fromarray(videos["later"][5]).save(tmp_path / "frame.webp")
    lines = (
        {"video": f"{name}.mp4", "references": [f"{name}.png"], "subject": name} | WRONG[name][0] for name in WRONG
    )
    report = checked(manifest(tmp_path, *lines))
    for clip, (_, kind, message) in zip(report.clips, WRONG.values(), strict=True):
        assert [finding.kind for finding in clip.findings] == [kind] * bool(kind), clip
        assert message in "".join(finding.message for finding in clip.findings)
        assert clip.usable == (kind in ("", "size", "copy", "duplicate", "rate", "long caption"))


def test_pixels_that_are_too_few_are_reported(home):
    report = checked(manifest(home, {}), SMALL.model_copy(update={"height": 128, "width": 192}))
    assert re.search(r"a\.mp4: 96 x 64 pixels is smaller than 192 x 128 and will be upscaled", messages(report)[0])


def test_every_line_is_reported_even_if_all_are_wrong(home):
    lines = ["{", '{"video": "a.mp4"}', '{"video": "../a.mp4", "caption": "", "references": ["x.png", "a.png"]}']
    (home / "clips.jsonl").write_text("\n".join(lines))
    report = checked(home / "clips.jsonl")
    assert kinds(report) == [{"line"}, {"line"}, {"outside", "caption", "missing"}]
    assert "a.png" in report.files


def test_clips_that_are_there_twice(home):
    (home / "copy.mp4").write_bytes((home / "a.mp4").read_bytes())
    larger = np.stack([np.asarray(Image.fromarray(frame).resize((192, 128))) for frame in video(0)])
    write(home / "larger.mp4", larger, container="matroska")
    long = np.concatenate([video(20), video(21), video(22)])
    write(home / "long.mp4", long)
    report = checked(
        manifest(
            home,
            {},
            {"video": "copy.mp4"},
            {"video": "larger.mp4"},
            {"video": "long.mp4", "end": 1.5},
            {"video": "long.mp4", "start": 1.5, "end": 3.0},
            {"video": "long.mp4", "start": 2.0, "end": 4.0},
        )
    )
    assert kinds(report) == [set(), {"duplicate"}, {"similar"}, set(), set(), {"duplicate"}]
    assert [re.search(r"clips\.jsonl:\d", message)[0][-1] for message in messages(report)] == ["1", "1", "5"]
    assert report.usable


def test_images_that_are_said_to_show_others(home):
    image(0).resize((200, 140)).save(home / "larger.jpg")
    fox = {"video": "b.mp4", "subject": "fox"}
    for line, kind in (
        (fox | {"references": ["a.png"]}, {"duplicate"}),
        (fox | {"references": ["larger.jpg"]}, {"similar"}),
        (fox | {"references": ["larger.jpg"], "subject": None}, {"similar"}),
        (fox | {"references": ["a.png", "larger.jpg"], "subject": "dog"}, set()),
    ):
        assert kinds(checked(manifest(home, {}, line))) == [set(), kind]


def test_a_hostile_file_costs_its_clip_alone(home):
    """A GIF of some megabytes whose frames would take minutes to decode."""
    bomb, black, white = home / "bomb.gif", Image.new("P", (3000, 3000)), Image.new("P", (3000, 3000), 1)
    black.save(bomb, save_all=True, append_images=[white], duration=100)
    content = bomb.read_bytes()
    begin = content.index(b"\x21\xf9")  # of the first frame
    bomb.write_bytes(content[:begin] + content[begin:-1] * 2000 + b";")
    report = checked(manifest(home, {"video": "bomb.gif"}, {}), patience=6.0)
    assert kinds(report) == [{"timeout"}, set()]
    assert re.search(r"bomb\.gif: took longer than 6 s; increase --patience", messages(report)[0])
    assert "bomb.gif" not in report.files


def test_a_folder_is_checked_like_a_manifest(home):
    for part in ("videos", "labels", "ref_images/1"):
        (home / "set" / part).mkdir(parents=True)
    for name in "12":
        write(home / "set/videos" / f"{name}.mp4", video(int(name)))
    (home / "set/labels/1.txt").write_text("a dog")
    image(0).save(home / "set/ref_images/1/1_masked.jpg")
    (home / "set/videos/notes.doc").touch()
    report = checked(home / "set")
    places = {clip.place: {finding.kind for finding in clip.findings} for clip in report.clips}
    assert places == {"videos/1.mp4": set(), "videos/2.mp4": {"caption", "no reference"}, "videos/notes.doc": {"line"}}


def test_files_outside_where_that_is_allowed(home):
    (home / "inner").mkdir()
    path = manifest(home, {})
    inner = path.rename(home / "inner" / "clips.jsonl")
    inner.write_text(inner.read_text().replace('"a.', f'"{os.sep.join(["..", ""])}a.'))
    assert kinds(checked(inner)) == [{"outside"}]
    report = checked(inner, allow_outside=True)
    assert report.usable
    assert set(report.files) == {"../a.mp4", "../a.png"}


def test_the_page_shows_text_as_text_and_asks_the_network_nothing(home):
    checked(manifest(home, {"caption": "<script>alert(1)</script> & more"}))
    page = (home / "clips.check.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert not re.search(r"(src|href)=\"(?!data:image/jpeg)", page)


# --- names and places of strangers ----------------------------------------------------------------------

LATIN = b"caf\xe9".decode(errors="surrogateescape")


def folder_of(home: Path, name: str) -> Path:
    """A folder with a valid clip, and one of that name."""
    for part in ("videos", "labels", "ref_images/a", f"ref_images/{name}"):
        (home / part).mkdir(parents=True, exist_ok=True)
    for seed, stem in enumerate(("a", name)):
        write(home / "videos" / f"{stem}.mp4", video(seed))
        (home / "labels" / f"{stem}.txt").write_text("a dog runs")
        image(seed).save(home / "ref_images" / stem / "1.png")
    return home


def test_a_name_that_is_not_utf8_costs_its_own_clip_alone(tmp_path, refilm):
    home = folder_of(tmp_path / "mine", LATIN)
    report = checked(home)
    assert kinds(report) == [set(), {"line"}]
    name = (
        r"videos/caf\xe9.mp4: the file name is not UTF-8; rename the file, or rename all files with refilm data import"
    )
    assert f"{home}/{name}" in messages(report)
    assert read_report(home) == report
    assert r"videos/caf\xe9.mp4" in (home / "refilm.check.html").read_text(encoding="utf-8")
    done = refilm("data", "import", home, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert r'"source": "videos/caf\\xe9.mp4"' in (tmp_path / "out/manifest.jsonl").read_text(encoding="utf-8")
    done = refilm("data", "prepare", home, "--out", home / "p.jsonl")
    assert done.exit_code == 2
    assert r"caf\xe9.mp4: the file name is not UTF-8" in done.stderr


@pytest.mark.parametrize("stray", [f"videos/{LATIN}.part", "videos/\x1b[2J.part", "labels/4pm\u202etxt.exe"])
def test_a_stray_file_is_named_whatever_its_name(tmp_path, stray):
    home = folder_of(tmp_path / "mine", "b")
    (home / stray).touch()
    report = checked(home)
    assert kinds(report) == [{"line"}, set(), set()]
    assert not set("\x1b\u202e") & set((home / "refilm.check.html").read_text(encoding="utf-8"))
    assert read_report(home) == report


def test_a_folder_whose_own_name_is_not_utf8(tmp_path):
    report = checked(folder_of(tmp_path / LATIN, "b"))
    assert report.usable
    assert set(report.files) == {"videos/a.mp4", "videos/b.mp4", "ref_images/a/1.png", "ref_images/b/1.png"}


def test_findings_name_what_a_clip_was_imported_from(home):
    source = {"source": "holiday/IMG_2034.MOV", "start": 0.25, "end": 1.0}
    report = checked(manifest(home, source, {"caption": "", "source": "\x1b[2J"}))
    assert report.clips[0].place == "clips.jsonl:1 (holiday/IMG_2034.MOV)"
    assert any(
        "6 frames at 8" in found and found.endswith("(imported from holiday/IMG_2034.MOV)")
        for found in messages(report)
    )
    assert any(found.startswith(rf"{home}/clips.jsonl:2 (\x1b[2J): the caption is empty") for found in messages(report))


def test_faster_clips_are_as_good(home):
    """At 24 or 30 fps the nearest frames are used; only slower clips have repeated frames."""
    lines = []
    for rate in (10, 24, 25, 30, 60):
        Video(video(rate, frames=2 * rate), rate).save(home / f"{rate}.mp4", scale=1)
        image(rate).save(home / f"{rate}.png")
        lines.append({"video": f"{rate}.mp4", "references": [f"{rate}.png"], "subject": str(rate)})
    assert kinds(checked(manifest(home, *lines))) == [set()] * 5


def test_a_folder_that_cannot_be_written_to_is_reported_before_anything_is_looked_at(
    home, tmp_path, monkeypatch, refilm
):
    """Simulates a read-only disk; the suggested fix works."""
    module = importlib.import_module("refilm.data.checking.check")  # the package has a function of that name
    real, clips = module.TemporaryFile, home / "mine"
    folder_of(clips, "b")

    def refuse(dir: Path):
        if Path(dir) == clips:
            raise OSError(30, "Read-only file system")
        return real(dir=dir)

    monkeypatch.setattr(module, "TemporaryFile", refuse)
    monkeypatch.setattr(module, "Workers", lambda *_, **__: pytest.fail("looked at files"))
    complaint = r"mine: is not writable \(Read-only file system\), .* elsewhere \(refilm data import .*mine NEW --allow"
    with pytest.raises(ValueError, match=complaint):
        checked(clips)
    monkeypatch.undo()
    out = tmp_path / "elsewhere"
    assert refilm("data", "import", clips, out, "--allow-outside").exit_code == 0
    report = checked(out / "manifest.jsonl", allow_outside=True)
    assert report.usable
    assert require_checked(out / "manifest.jsonl", allow_outside=True).hashes
