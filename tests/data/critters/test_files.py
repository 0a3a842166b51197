"""critters written as files are identical to the clips rendered in memory when read back."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from refilm.data import critters, read_examples
from refilm.data.checking import report_paths
from refilm.data.critters.files import write_clips, write_stills
from refilm.data.cutting import fitted
from refilm.data.drawn import Critters, StillCritters
from refilm.data.samples import Files
from refilm.media import open_video


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_files_hold_the_clips(tmp_path):
    folder = tmp_path / "new" / "clips"
    videos = list(write_clips(folder, clips=6, split="held_out", seed=5, references=3))
    assert [video.relative_to(folder).as_posix() for video in videos] == [f"videos/0000{i}.mp4" for i in range(1, 7)]
    examples = read_examples(folder / "manifest.jsonl")
    assert read_examples(folder) == [replace(example, subject=None) for example in examples]
    source = Critters(6, split="held_out", seed=5, references=3)
    for index, example in enumerate(examples):
        story = critters.story(5, index, "held_out")
        assert (example.caption, example.subject) == (story.caption, story.subject.appearance)
        assert [path.relative_to(folder).as_posix() for path in example.files[1:]] == [
            f"ref_images/0000{index + 1}/{number}.png" for number in (1, 2, 3)
        ]
        read, drawn = Files([example])[0], source[index]
        assert open_video(example.video).fps == critters.FPS
        video, twin = ([fitted(frame, (32, 32)) for frame in one.clip.frames(critters.FPS)] for one in (read, drawn))
        assert len(video) == len(twin) == critters.FRAMES
        assert psnr(np.stack(video), np.stack(twin)) >= 35
        for image, portrait in zip(read.references, drawn.references, strict=True):
            loaded, same = (one.load((255, 255, 255)) for one in (image, portrait))
            assert loaded.size == (256, 256)
            assert psnr(np.asarray(loaded.reduce(256 // same.width)), np.asarray(same)) > 18  # the same pose


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.square(a.astype(float) - b).mean())


def test_the_same_seed_writes_the_same_bytes_and_more_clips_only_add(tmp_path):
    for name, clips, seed in (("a", 2, 1), ("b", 3, 1), ("c", 2, 2)):
        list(write_clips(tmp_path / name, clips=clips, split="train", seed=seed))
    a, b, c = (contents(tmp_path / name) for name in "abc")
    del a["manifest.jsonl"], a["README.md"]
    assert a.items() <= b.items()
    assert not set(a.values()) & set(c.values())


def test_videos_are_written_one_by_one(tmp_path):
    writing = write_clips(tmp_path, clips=3, split="train", seed=0)
    assert not list(tmp_path.iterdir())
    assert next(writing).is_file()
    assert len(list((tmp_path / "videos").iterdir())) == 1
    assert not (tmp_path / "manifest.jsonl").exists()
    list(writing)
    assert (tmp_path / "manifest.jsonl").is_file()


def test_a_still_is_a_frame_of_its_clip_without_the_motion_in_its_caption(tmp_path):
    images = list(write_stills(tmp_path / "clips", clips=3, split="held_out", seed=5, references=1))
    examples = read_examples(tmp_path / "clips" / "manifest.jsonl")
    assert read_examples(tmp_path / "clips") == [replace(example, subject=None) for example in examples]
    for index, (image, example) in enumerate(zip(images, examples, strict=True)):
        pixels, story = np.asarray(Image.open(image)), critters.story(5, index, "held_out")
        assert any(np.array_equal(pixels, frame) for frame in critters.draw_video(5, index, "held_out"))
        assert example.video == image
        assert example.caption == story.caption.replace(f" {story.motion} ", " ")
        drawn = StillCritters(3, "held_out", 5)[index]
        assert drawn.captions == (example.caption, f"{example.caption}, {story.subject.appearance}")
        assert np.array_equal(next(drawn.clip.frames(8)), pixels)


def test_sizes_and_scale(tmp_path):
    (video,) = write_clips(tmp_path, clips=1, split="train", seed=0, size=48, scale=2, references=1)
    assert open_video(video).frames.shape == (critters.FRAMES, 96, 96, 3)


def test_what_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    good = {"clips": 1, "split": "train", "seed": 0}
    for folder, change, complaint in (
        ("full", {}, r"full: is not empty; choose an empty or new folder"),
        ("full/file", {}, r"file: is not empty"),
        ("new", {"clips": 0}, r"clips must be 1 or more, received 0"),
        ("new", {"references": 0}, r"references must be 1 or more, received 0"),
        ("new", {"subjects": 3}, r"subjects must be 1 or 2, received 3"),
        ("new", {"seed": -1}, r"seed must be 0 or more, received -1"),
        ("new", {"split": "held-out"}, r"split must be one of train, held_out, train_.*, received 'held-out'"),
    ):
        with pytest.raises(ValueError, match=complaint):
            write_clips(tmp_path / folder, **(good | change))
    assert not (tmp_path / "new").exists()


def test_a_clip_of_two_has_a_line_for_each_with_its_images_and_mask(tmp_path):
    list(write_clips(tmp_path, clips=2, split="held_out", seed=5, subjects=2, references=1))
    examples = read_examples(tmp_path / "manifest.jsonl")
    assert [path.relative_to(tmp_path).as_posix() for path in examples[3].files] == [
        "videos/00002.mp4",
        "subjects/00002/2/1.png",
        "subjects/00002/2/mask.mp4",
    ]
    for number, example in enumerate(examples):
        index, place = divmod(number, 2)
        story, shot = critters.double_story(5, index, "held_out"), critters.draw_double(5, index, "held_out")
        assert (example.caption, example.subject) == (story.caption, story.subjects[place].appearance)
        assert example.mask is not None
        video, mask = (
            np.stack([fitted(frame, (64, 64)) for frame in open_video(path).frames])
            for path in (example.video, example.mask)
        )
        assert psnr(video, shot.frames) >= 30
        assert np.array_equal(mask[..., 0] > 127, shot.masks[place])
        portrait = critters.draw_double_portrait(5, index, "held_out", subject=place, number=0, size=256)
        assert np.array_equal(np.asarray(Image.open(example.references[0].image)), portrait)


def test_nothing_is_wrong_with_clips_of_two(tmp_path, refilm):
    manifest = tmp_path / "two" / "manifest.jsonl"
    done = refilm("data", "critters", manifest.parent, "--clips", 3, "--subjects", 2)
    assert done.exit_code == 0
    assert refilm("data", "check", manifest, "--workers", 1).exit_code == 0
    report = json.loads(report_paths(manifest)[0].read_text(encoding="utf-8"))
    assert [clip["findings"] for clip in report["clips"]] == [[]] * 6
