"""Photographs as clips: imported, checked, and given references.

The photographs come with scikit-image; none of them is in this repository.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from refilm.data import Example, Reference, read_examples, write_manifest
from refilm.data.checking import read_report
from refilm.data.importing import Columns, find_layout, import_clips
from refilm.data.preparing import PrepareSettings, plan, prepare
from refilm.media import Video

from .checking.checks import checked, kinds

CAPTIONS = {"cat": "a cat looks up", "cup": "a cup on a table", "space": "a portrait in a studio"}


@pytest.fixture
def photos(tmp_path) -> Path:
    """Photographs with captions beside them."""
    home = tmp_path / "photos"
    home.mkdir()
    for (name, caption), pixels in zip(
        CAPTIONS.items(), (data.chelsea(), data.coffee(), data.astronaut()), strict=True
    ):
        Image.fromarray(pixels).save(home / f"{name}.png")
        (home / f"{name}.txt").write_text(caption)
    return home


def imported(source: Path, out: Path) -> list[Example]:
    list(import_clips(str(source), out))
    return read_examples(out / "manifest.jsonl")


def test_a_folder_of_images_is_imported_with_captions_references_and_masks(photos, tmp_path):
    Image.fromarray(data.chelsea()[:, ::-1]).save(photos / "cat.2.png")  # without a caption: a reference
    Image.new("L", (600, 400), 255).save(photos / "cup.mask.png")
    layout = find_layout(str(photos), Columns({}), split="train", allow_outside=False)
    assert layout.words == "images with captions beside them"
    examples = imported(photos, tmp_path / "clips")
    assert all(example.still and example.video.parent.name == "images" for example in examples)
    assert {example.source: example.caption for example in examples} == {f"{a}.png": b for a, b in CAPTIONS.items()}
    assert [len(example.references) for example in examples] == [1, 0, 0]
    assert [example.mask is not None for example in examples] == [False, True, False]
    (photos / "lost.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"'lost': has no image; add an image of that name; or remove 'lost.txt'"):
        imported(photos, tmp_path / "again")


def test_in_a_folder_with_videos_an_image_alone_is_no_clip(photos, tmp_path):
    (photos / "dog.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    with pytest.raises(ValueError, match=r"'cat': has no video"):
        imported(photos, tmp_path / "clips")


@pytest.mark.parametrize("column", ["file_name", "image"])
def test_a_table_of_images_is_imported(photos, tmp_path, column):
    rows = [{column: f"{name}.png", "text": caption, "subject": name} for name, caption in CAPTIONS.items()]
    (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = imported(photos, tmp_path / "clips")
    assert [(example.still, example.subject) for example in examples] == [(True, name) for name in CAPTIONS]


def test_the_check_applies_the_rules_of_images_and_says_so(photos, tmp_path, refilm):
    cat, cup = photos / "cat.png", photos / "cup.png"
    Image.new("RGBA", (96, 64), (200, 0, 0, 9)).save(photos / "clear.png")
    (photos / "bad.png").write_bytes(cat.read_bytes()[:9000])
    examples = [
        Example(cat, "a cat", (Reference(cat),)),
        Example(photos / "space.png", "a portrait", (Reference(cup),)),
        Example(photos / "clear.png", "a red sheet", ()),
        Example(photos / "bad.png", "a cat", (Reference(cup),)),
    ]
    write_manifest(photos / "m.jsonl", examples)
    report = checked(photos / "m.jsonl")
    assert (report.stills, [clip.still for clip in report.clips]) == (4, [True] * 4)
    assert [found - {"duplicate"} for found in kinds(report)] == [  # two clips have one reference
        {"copy"},
        {"size"},  # a square becomes 3:2
        {"transparent", "no reference"},
        {"unreadable"},
    ]
    assert report.clips[0].facts == "still, PNG RGB, 451 x 300"
    assert "reference 1 is the image itself" in report.clips[0].findings[0].message
    done = refilm("data", "check", photos / "m.jsonl", "--workers", 1)
    assert "4 of the clips are images, checked as stills: rules about length, frame rate and motion do not" in (
        done.output.replace("\n", "")
    )
    assert read_report(photos / "m.jsonl").stills == 4


def test_a_part_of_an_image_is_refused(photos):
    line = {"video": "cat.png", "caption": "a cat", "references": ["cat.png"], "end": 2.0}
    (photos / "m.jsonl").write_text(json.dumps(line))
    with pytest.raises(ValueError, match=r"m.jsonl:1: 'cat.png' is an image, which has no start and no end"):
        read_examples(photos / "m.jsonl")


class LeftHalf:
    """A remover of backgrounds."""

    name = "left half"

    def __call__(self, image: Image.Image, /) -> Image.Image:
        mask = Image.new("L", image.size)
        mask.paste(255, (0, 0, image.width // 2, image.height))
        return mask


def test_another_photograph_of_the_subject_is_the_reference_or_else_the_image_itself(photos, tmp_path):
    cat, cup, space = (photos / f"{name}.png" for name in CAPTIONS)
    video = tmp_path / "photos" / "v.mp4"
    Video(np.zeros((9, 32, 32, 3), dtype=np.uint8), 8).save(video, scale=1)
    examples = [
        Example(cat, "a cat", (), subject="it"),
        Example(cup, "a cup", (), subject="it"),
        Example(space, "a portrait", ()),
        Example(video, "it moves", (), subject="it"),
    ]
    planned = plan(examples, photos / "new.jsonl", PrepareSettings())
    assert (planned.own, planned.jobs) == (1, ())
    assert list(prepare(planned, workers=1)) == []
    shown = [example.references[0].image for example in read_examples(photos / "new.jsonl")]
    assert shown[:3] == [cup, cat, space]
    assert shown[3] in (cat, cup)
    removed = plan(examples[2:3], photos / "cut.jsonl", PrepareSettings(background=(0, 0, 255)), remover=LeftHalf())
    assert removed.own == 1
    assert list(prepare(removed, workers=1)) == [None]
    (example,) = read_examples(photos / "cut.jsonl")
    pixels = np.asarray(Image.open(example.references[0].image))
    assert (pixels[:, 300:] == (0, 0, 255)).all()
    assert np.array_equal(pixels[:, :200], data.astronaut()[:, :200])
