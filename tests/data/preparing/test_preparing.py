"""References made from real videos with distinguishable frames, by real processes."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.data import Example, Reference, read_examples, write_manifest
from refilm.data.preparing import PrepareSettings, plan, prepare
from refilm.media import Video, open_video

HEIGHT, WIDTH, FPS = 64, 96, 8
EVERY = 64  # candidates: two in each frame's time, so that none is missed, whatever the draw
BLUE = (10, 20, 240)


def make_video(path: Path, frames: int = 40, *, sharp: int | None = None, gray: int = 60) -> Path:
    """A bright bar that moves with every frame; one frame also has dots."""
    pixels = np.full((frames, HEIGHT, WIDTH, 3), gray, dtype=np.uint8)
    for number in range(frames):
        pixels[number, :, 2 * number : 2 * number + 8] = 220
    if sharp is not None:
        pixels[sharp, ::4, ::4] = 255
    Video(pixels, FPS).save(path, scale=1)
    return path


def carry_out(examples, out, *, remover=None, **settings) -> list[str]:
    """Prepare with one process; the faults."""
    steps = prepare(plan(examples, out, PrepareSettings(**settings), remover=remover), workers=1)
    return [fault for fault in steps if fault is not None]


def made(out: Path) -> list[Path]:
    return [reference.image for example in read_examples(out) for reference in example.references]


def source(image: Path) -> tuple[str, float]:
    """The video and the second that an image's metadata names."""
    with Image.open(image) as image:
        match = re.match(r"(.*) at ([\d.]+) s", image.text["Source"])
    assert match
    return match[1], float(match[2])


def test_the_sharpest_frame_of_another_moment_is_taken_as_it_is(tmp_path):
    video = make_video(tmp_path / "a.mp4", sharp=23)
    given = Example(video, "a bar", (), subject="bar")
    assert carry_out([given], tmp_path / "new.jsonl", candidates=EVERY) == []
    (example,) = read_examples(tmp_path / "new.jsonl")
    (reference,) = example.references
    assert (example.video, example.caption, example.subject, reference.mask) == (video, "a bar", "bar", None)
    assert reference.image.parent == tmp_path / "references"
    assert source(reference.image) == ("a.mp4", 23 / FPS)
    assert np.array_equal(Image.open(reference.image), open_video(video).frames[23])  # whole, and in its own shape


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_is_kept_outside_of_the_clip_if_there_is_room(tmp_path, seed):
    for name, span in {"part": (1.5, 2.5), "whole": (), "late": (0.5,)}.items():
        example = Example(make_video(tmp_path / f"{name}.mp4", sharp=0), "a bar", (), *span)
        assert carry_out([example], tmp_path / f"{name}.jsonl", seed=seed, min_distance=1.2) == []
    part, whole, late = (source(made(tmp_path / f"{name}.jsonl")[0])[1] for name in ("part", "whole", "late"))
    assert part <= 0.3 or part >= 3.7 - 0.5 / FPS
    assert whole >= 1.2
    assert late >= 1.7


def test_what_training_takes_of_a_long_clip_is_left_alone(tmp_path):
    example = Example(make_video(tmp_path / "a.mp4", sharp=10), "a bar", ())
    assert carry_out([example], tmp_path / "new.jsonl", candidates=EVERY, frames=9, min_distance=0.5) == []
    (image,) = made(tmp_path / "new.jsonl")
    assert source(image)[1] >= 9 / FPS + 0.5 - 0.5 / FPS


def test_other_clips_of_the_subject_come_first(tmp_path):
    first, second, third = (
        make_video(tmp_path / f"{name}.mp4", gray=gray) for name, gray in {"a": 20, "b": 60, "c": 90}.items()
    )
    examples = [
        Example(first, "a bar", (), subject="bar"),
        Example(second, "the bar", (), 1, 3, subject="bar"),
        Example(third, "another bar", (), subject="other"),
    ]
    assert carry_out(examples, tmp_path / "new.jsonl", min_distance=0) == []
    of_first, of_second, of_third = map(source, made(tmp_path / "new.jsonl"))
    assert of_first[0] == "b.mp4"
    assert 1 <= of_first[1] <= 3
    assert of_second[0] == "a.mp4"
    assert of_third[0] == "c.mp4"


def test_what_cannot_be_done_is_named_and_no_manifest_is_written(tmp_path):
    good, short = make_video(tmp_path / "good.mp4"), make_video(tmp_path / "short.mp4", 8)
    still = tmp_path / "still.mp4"
    Video(np.full((40, HEIGHT, WIDTH, 3), 90, dtype=np.uint8), FPS).save(still, scale=1)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(good.read_bytes()[:-500])
    examples = [Example(video, "a bar", ()) for video in (good, short, still, cut)]
    steps = prepare(plan(examples, tmp_path / "new.jsonl", PrepareSettings()), workers=1)
    faults = []
    with pytest.raises(ValueError, match=r"\.mp4: .* \(and 2 more\); .*new\.jsonl was not written"):
        faults.extend(fault for fault in steps if fault)
    named = {Path(fault.split(":")[0]).name: fault for fault in faults}
    assert named.keys() == {"short.mp4", "still.mp4", "cut.mp4"}
    assert (
        "found no reference for the clip at 0 s: no frame is 1 s away from its first; add an image, set"
        in named["short.mp4"]
    )
    assert "every frame is nearly identical to its first; add" in named["still.mp4"]
    assert "truncated, its end is missing" in named["cut.mp4"]
    (image,) = (tmp_path / "references").iterdir()
    assert not (tmp_path / "new.jsonl").exists()
    rest = plan(examples[:2], tmp_path / "new.jsonl", PrepareSettings(min_distance=1.0))
    assert [job.item.source for job in rest.jobs] == [short]  # what was made is not made again
    assert carry_out(examples[:2], tmp_path / "new.jsonl", min_distance=0.5) == []
    assert image not in made(tmp_path / "new.jsonl")  # at another distance it is another image


def test_a_second_run_does_nothing_new_and_a_changed_file_only_what_it_changes(tmp_path):
    examples = [Example(make_video(tmp_path / f"{n}.mp4", gray=40 + n), "a bar", ()) for n in (1, 2)]
    out = tmp_path / "new.jsonl"
    assert carry_out(examples, out) == []
    files = {path: path.stat().st_mtime_ns for path in (out, *made(out))}
    assert plan(examples, out, PrepareSettings()).jobs == ()
    assert carry_out(examples, out) == []
    os.utime(examples[0].video)
    assert carry_out(examples, out) == []
    assert {path: path.stat().st_mtime_ns for path in files} == files
    make_video(examples[0].video, gray=90)
    assert [job.item.source for job in plan(examples, out, PrepareSettings()).jobs] == [examples[0].video]
    assert carry_out(examples, out) == []
    assert made(out)[0] not in files
    assert made(out)[1] in files


def test_the_same_files_give_the_same_images_anywhere(tmp_path):
    results = []
    for home in (tmp_path / "here", tmp_path / "there"):
        home.mkdir()
        examples = [Example(make_video(home / f"{name}.mp4"), "a bar", (), subject="bar") for name in "abcdef"]
        assert carry_out(examples, home / "new.jsonl") == []
        results.append({path.name: path.read_bytes() for path in (home / "references").iterdir()})
    assert results[0] == results[1]
    assert carry_out(examples, home / "other.jsonl", seed=1) == []
    assert not {path.name for path in made(home / "other.jsonl")} & results[0].keys()


# --- plain ground ------------------------------------------------------------------------------------


def half(path: Path, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """A mask: the subject is in the left half."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    mask.save(path)
    return path


def test_given_references_stay_and_are_cut_out_only_when_asked(tmp_path):
    video, mask = make_video(tmp_path / "a.mp4"), half(tmp_path / "mask.png", 48, 32)
    Image.new("RGB", (WIDTH, HEIGHT), (200, 50, 50)).save(tmp_path / "1.png")
    before = (tmp_path / "1.png").read_bytes()
    plain, masked = Reference(tmp_path / "1.png"), Reference(tmp_path / "1.png", mask)
    examples = [Example(video, "a bar", (plain, masked))]
    assert carry_out(examples, tmp_path / "new.jsonl") == []
    assert read_examples(tmp_path / "new.jsonl") == examples
    assert not (tmp_path / "references").exists()
    assert carry_out(examples, tmp_path / "new.jsonl", cut_out=True, background=BLUE) == []
    (example,) = read_examples(tmp_path / "new.jsonl")
    assert example.references[0] == plain
    assert example.references[1].mask is None
    pixels = np.asarray(Image.open(example.references[1].image))
    assert (pixels[:, : WIDTH // 2 - 2] == (200, 50, 50)).all()
    assert (pixels[:, WIDTH // 2 + 2 :] == BLUE).all()
    assert (tmp_path / "1.png").read_bytes() == before


def test_cutting_out_needs_a_mask_somewhere(tmp_path):
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "1.png")
    examples = [Example(make_video(tmp_path / "a.mp4"), "a bar", (Reference(tmp_path / "1.png"),))]
    with pytest.raises(ValueError, match="cut_out: no clip and no reference has a mask; add masks"):
        carry_out(examples, tmp_path / "new.jsonl", cut_out=True)
    assert not (tmp_path / "new.jsonl").exists()


def test_a_mask_of_another_shape_is_named(tmp_path):
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "1.png")
    reference = Reference(tmp_path / "1.png", half(tmp_path / "wrong.png", 64, 64))
    with pytest.raises(
        ValueError, match=r"1\.png with .*wrong\.png: the mask has 64 x 64 pixels and the image 96 x 64"
    ):
        carry_out(
            [Example(make_video(tmp_path / "a.mp4"), "a bar", (reference,))], tmp_path / "new.jsonl", cut_out=True
        )


@pytest.mark.parametrize("kind", ["image", "video"])
def test_frames_are_cut_out_along_their_clips_mask(tmp_path, kind):
    video = make_video(tmp_path / "a.mp4", sharp=12)
    mask = half(tmp_path / "mask.png")
    if kind == "video":  # the subject shows itself late
        moving = np.zeros((40, HEIGHT, WIDTH, 3), dtype=np.uint8)
        moving[20:, :, : WIDTH // 2] = 255
        Video(moving, FPS).save(mask := tmp_path / "mask.mp4", scale=1)
    examples = [Example(video, "a bar", (), mask=mask)]
    assert carry_out(examples, tmp_path / "whole.jsonl", candidates=EVERY) == []
    (whole,) = made(tmp_path / "whole.jsonl")
    assert source(whole) == ("a.mp4", 12 / FPS)
    assert (np.asarray(Image.open(whole))[:, WIDTH // 2 + 2 :] != BLUE).any()
    assert carry_out(examples, tmp_path / "new.jsonl", candidates=EVERY, cut_out=True, background=BLUE) == []
    (image,) = made(tmp_path / "new.jsonl")
    second = source(image)[1]
    assert second >= 20 / FPS if kind == "video" else second == 12 / FPS
    pixels, frame = np.asarray(Image.open(image)), open_video(video).frames[round(second * FPS)]
    assert np.abs(pixels[:, WIDTH // 2 + 2 :].astype(int) - BLUE).max() <= 3
    assert np.abs(pixels[:, : WIDTH // 2 - 2].astype(int) - frame[:, : WIDTH // 2 - 2]).max() <= 3


class Bars:
    """Finds bright parts, if there are any."""

    name = "bars"

    def __call__(self, image: Image.Image, /) -> Image.Image:
        return image.convert("L").point(lambda value: 255 * (value > 150))


def test_backgrounds_are_removed_where_no_mask_does_it(tmp_path):
    bright, dark = make_video(tmp_path / "a.mp4"), make_video(tmp_path / "b.mp4", gray=40)
    examples = [Example(bright, "a bar", ()), Example(dark, "a bar", (), mask=half(tmp_path / "mask.png"))]
    assert carry_out(examples, tmp_path / "new.jsonl", remover=Bars(), background=BLUE) == []
    removed, masked = (np.asarray(Image.open(path)) for path in made(tmp_path / "new.jsonl"))
    number = round(source(made(tmp_path / "new.jsonl")[0])[1] * FPS)
    bar = removed[:, 2 * number + 1 : 2 * number + 7]
    assert (bar > 190).all()
    assert (removed == BLUE).all(axis=2).mean() > 0.85
    assert (masked[:, : WIDTH // 2 - 2] != BLUE).any(axis=2).all()
    assert plan(examples, tmp_path / "new.jsonl", PrepareSettings(background=BLUE), remover=Bars()).jobs == ()


def test_a_remover_that_finds_nobody_is_a_fault(tmp_path):
    video = tmp_path / "dark.mp4"
    Video(open_video(make_video(tmp_path / "a.mp4")).frames // 2, FPS).save(video, scale=1)
    with pytest.raises(ValueError, match=r"dark\.mp4: bars on dark\.mp4 at .* s: the mask is black everywhere"):
        carry_out([Example(video, "a bar", ())], tmp_path / "new.jsonl", remover=Bars())
    assert list((tmp_path / "references").iterdir()) == []


# --- where to ----------------------------------------------------------------------------------------


def test_a_manifest_that_could_not_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "deep").mkdir()
    examples = [Example(make_video(tmp_path / "a.mp4"), "a bar", ())]
    for out, complaint in {
        "absent/new.jsonl": "the folder .*absent does not exist; create it first",
        "deep": "is a folder; use the name of a manifest",
        "deep/new.jsonl": r"a\.mp4: is outside .*deep, the folder of new\.jsonl; write the manifest to a parent",
    }.items():
        with pytest.raises(ValueError, match=complaint):
            plan(examples, tmp_path / out, PrepareSettings())
    assert plan(examples, tmp_path / "deep/new.jsonl", PrepareSettings(), allow_outside=True).made == 1


def test_the_command(tmp_path, refilm):
    examples = [Example(make_video(tmp_path / f"{n}.mp4", n), "a bar", ()) for n in (8, 40)]
    write_manifest(tmp_path / "clips.jsonl", examples)
    command = ("data", "prepare", tmp_path / "clips.jsonl", "--out", tmp_path / "new.jsonl", "--workers", 1)
    result = refilm(*command)
    assert result.exit_code == 2
    assert re.search(
        r"no reference: .*8\.mp4: found no reference .*\nerror: .*8\.mp4: .*was not written", result.stderr
    )
    result = refilm(*command, "--leave-out")
    assert result.exit_code == 0
    assert "1 of 2 clips, 1 references made, 0 of them new" in result.stdout
    assert [example.video.name for example in read_examples(tmp_path / "new.jsonl")] == ["40.mp4"]
    result = refilm(*command, "--min-distance", 0.5)
    assert result.exit_code == 0
    out = tmp_path / "new.jsonl"
    reported = f"{out}: 2 of 2 clips, 2 references made, 2 of them new\nrun: refilm data check {out}\n"
    assert result.stdout == reported
    assert len(made(tmp_path / "new.jsonl")) == 2
    for option, complaint in {
        ("--background", "mauve-ish"): "--background 'mauve-ish': is not a color; give a name",
        ("--min-distance", "inf"): r"--min-distance: .* \(received inf\)",
    }.items():
        result = refilm(*command, *option)
        assert result.exit_code == 2
        assert re.search(complaint, result.stderr)
