"""Hundreds of damaged files: none stops the check, and each is reported with the right finding."""

import json
from pathlib import Path

import av
import pytest
from PIL import Image

from refilm.data.checking import ClipReport, Report

from .checks import checked
from .damaged import FRAMES, IMAGES, VIDEOS, image, video, write

UNREADABLE = {"unreadable", "truncated"}
SHARED = {"duplicate", "similar"}  # many of these files look like each other, which is no matter here


def make(home: Path, videos: int, images: int) -> Path:
    """A manifest of so many videos and images of each kind, each the only bad file of its clip."""
    home.mkdir(exist_ok=True)
    write(home / "good.mp4", video(0))
    image(1000).save(home / "good.png")
    lines = []
    for kind, damage in VIDEOS.items():
        for number in range(videos):
            path = home / f"video-{kind}-{number}.mp4"
            damage(path, number)
            lines.append({"video": path.name, "references": ["good.png"]})
    for kind, damage in IMAGES.items():
        for number in range(images):
            path = home / f"image-{kind}-{number}.png"
            damage(path, number)
            lines.append({"video": "good.mp4", "references": [path.name]})
    rows = (json.dumps(line | {"caption": "a dog", "subject": "dog"}) for line in lines)
    (home / "clips.jsonl").write_text("\n".join(rows))
    return home / "clips.jsonl"


def judge(report: Report, home: Path) -> dict[str, int]:
    """Every file has the right finding; counts those whose damage cannot be detected."""
    silent: dict[str, int] = {}
    for clip in report.clips:
        name = clip.references[0] if clip.video == "good.mp4" else clip.video
        reported = [finding for finding in clip.findings if finding.kind not in SHARED]
        assert all(name in finding.message for finding in reported), clip
        what, kind, number = name.rpartition(".")[0].split("-")
        if kind == "flipped":
            silent[what] = silent.get(what, 0) + (not reported)
            assert reported or sound(home / name), clip
        else:
            expect = expect_video if what == "video" else expect_image
            expect(kind, int(number), clip, {finding.kind for finding in reported}, report.files[name].facts)
    return silent


def expect_video(kind: str, number: int, clip: ClipReport, reported: set[str], facts: str) -> None:
    if kind in ("truncated", "empty", "text", "playlist", "audio"):
        assert reported, clip
        assert reported <= UNREADABLE, clip
        assert not clip.usable
    elif kind == "one frame":
        assert reported == {"short"}, clip
    elif kind == "variable":
        assert reported - {"rate"} == {"variable rate"}, clip
        assert clip.usable
    elif kind == "rotated":
        assert reported - {"size"} == {"turned"}, clip
        assert ("64 x 96" if number % 4 < 2 else "96 x 64") in facts
        assert clip.usable
    else:
        assert (reported, clip.usable, "10 bit" in facts) == (set(), True, True), clip


def expect_image(kind: str, number: int, clip: ClipReport, reported: set[str], facts: str) -> None:
    if kind in ("bomb", "truncated", "no image", "empty"):
        assert reported == {"unreadable"}, clip
        assert not clip.usable
        return
    assert reported == {"animated": {"animated"}, "cmyk": {"color"}}.get(kind, set()), clip
    assert clip.usable
    upright = "64 x 96" if kind == "exif" and 2 + number % 7 > 4 else "96 x 64"
    forms = {
        "cmyk": ["JPEG CMYK", "TIFF CMYK"],
        "animated": ["GIF P", "WEBP RGB", "PNG RGB"],
        "exif": ["JPEG RGB", "PNG RGB", "WEBP RGB"],
        "misnamed": ["JPEG RGB", "WEBP RGB", "GIF P", "BMP RGB", "TIFF RGB"],
        "unusual": ["PNG 1", "PNG L", "PNG LA", "PNG P", "PNG RGBA", "PNG I;16"],
    }[kind]
    turned = ", rotated by EXIF" if kind == "exif" else ""
    assert facts == f"{forms[number % len(forms)]}, {upright}{turned}", clip


def sound(path: Path) -> bool:
    """Whether FFmpeg or Pillow report no error: neither format has checksums for all of its content."""
    if path.name.startswith("image"):
        with Image.open(path) as image:
            image.load()
        return True
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return len(frames) == FRAMES and not any(frame.is_corrupt for frame in frames)


def test_some_of_each_kind(tmp_path):
    report = checked(make(tmp_path / "set", videos=2, images=2))
    assert len(report.clips) == 40
    assert not report.usable
    judge(report, tmp_path / "set")
    page = (tmp_path / "set" / "clips.check.html").read_text()
    assert all(clip.place in page for clip in report.clips)


@pytest.mark.slow
def test_500_videos_and_200_images(tmp_path):
    report = checked(make(tmp_path / "set", videos=50, images=20))
    assert len(report.clips) == 700
    silent = judge(report, tmp_path / "set")
    print(f"{report.seconds} s; of 50 and 20 with flipped bits, these decode without complaint: {silent}")  # noqa: T201
    assert silent["video"] < 15
    assert silent["image"] < 15
