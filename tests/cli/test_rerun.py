"""Nothing of an interrupted, repeated or replaced video is lost, mixed up or silently replaced."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import refilm as library
from refilm.generation.recipe import read_video_recipe
from refilm.generation.states import load_state
from refilm.media import Video, open_video


@pytest.fixture
def command(refilm, tiny_base, fox, tmp_path, monkeypatch):
    """Run a command in an empty folder with fox.png; returns what it printed."""
    monkeypatch.chdir(tmp_path)
    Path("fox.png").write_bytes(fox.read_bytes())

    def run(name: str, *words: object, fails: int = 0) -> str:
        if name == "generate":
            words = ("a critter bounces", *words, "--base", tiny_base, "--reference", "fox.png")
        result = refilm(name, *words)
        assert result.exit_code == fails, result.output
        return result.output

    return run


@pytest.fixture
def broken(monkeypatch):
    """Makes the next video fail when it is written."""

    def arm(error: BaseException) -> None:
        save, errors = Video.save, [error]

        def once(*given, **named):
            if errors:
                raise errors.pop()
            return save(*given, **named)

        monkeypatch.setattr(Video, "save", once)

    return arm


@pytest.fixture
def interrupted(command, broken):
    """Begin a video that is sampled, but not written."""

    def begin(*words: object, error: BaseException | None = None, fails: int = 130) -> str:
        broken(error or KeyboardInterrupt())
        return command("generate", *words, fails=fails)

    return begin


def test_a_new_video_does_not_take_the_state_of_an_interrupted_one(command, interrupted):
    interrupted("--steps", 1, "--seed", 1, "-o", "fox.mp4")
    printed = command("generate", "--steps", 1, "--seed", 2, "-o", "fox.mp4", fails=2)
    assert "fox.mp4.state: an interrupted video is saved there; continue it with `refilm finish" in printed
    assert load_state("fox.mp4.state").recipes[0].seed == 1
    command("finish", "fox.mp4.state")
    assert not Path("fox.mp4.state").exists()
    assert "fox.mp4 will be replaced" in command("generate", "--steps", 1, "--seed", 2, "-o", "fox.mp4")


def test_finish_removes_the_state_that_it_has_finished_and_no_other(command, interrupted):
    interrupted("--steps", 1, "--seed", 1, "-o", "one.mp4")
    interrupted("--steps", 1, "--seed", 2, "-o", "two.mp4")
    command("finish", "one.mp4.state", "-o", "other.mp4")
    assert (Path("one.mp4.state").exists(), Path("two.mp4.state").exists()) == (False, True)
    assert read_video_recipe("other.mp4").seed == 1
    assert "two.mp4.state: an interrupted video" in command("rerun", "other.mp4", "-o", "two.mp4", fails=2)


def test_a_video_is_finished_as_it_was_asked_for(command, interrupted):
    words = ("--steps", 1, "--seed", 1, "--scale", 3, "--no-metadata", "-o")
    command("generate", *words, "whole.mp4")
    interrupted(*words, "fox.mp4")
    command("finish", "fox.mp4.state")
    assert np.array_equal(open_video("fox.mp4").frames, open_video("whole.mp4").frames)
    assert not list(Path().glob("*.json"))


def test_an_error_while_a_video_is_written_does_not_lose_its_sampling(command, interrupted):
    full = OSError(errno.ENOSPC, "No space left on device")
    printed = interrupted("--steps", 1, "--seed", 1, "-o", "fox.mp4", error=full, fails=2)
    assert "step 1 of 1 is saved; continue with: refilm finish fox.mp4.state" in printed
    command("finish", "fox.mp4.state")
    command("rerun", "fox.mp4", "-o", "again.mp4")
    assert np.array_equal(open_video("fox.mp4").frames, open_video("again.mp4").frames)


def test_too_little_memory_is_no_bug(command, monkeypatch):
    def full(*given, **named):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(library.Pipeline, "decode", full)
    printed = command("generate", "--steps", 1, "--seed", 1, "-o", "fox.mp4", fails=2)
    assert "error: not enough memory; choose a smaller size" in printed
    assert "refilm finish fox.mp4.state" in printed


def test_a_video_without_metadata_does_not_keep_the_recipe_of_an_earlier_one(command):
    command("generate", "--steps", 1, "--seed", 1, "-o", "fox.mp4")
    Path("notes.mp4.json").write_text("{}")
    command("generate", "--steps", 1, "--seed", 2, "--no-metadata", "-o", "fox.mp4")
    command("generate", "--steps", 1, "--seed", 2, "--no-metadata", "-o", "notes.mp4")
    assert [path.name for path in Path().glob("*.json")] == ["notes.mp4.json"]  # no recipe of refilm


def test_rerun_replaces_neither_the_original_nor_an_earlier_rerun(command):
    command("generate", "--steps", 1, "--seed", 1, "-o", "fox.mp4")
    command("rerun", "fox.mp4")
    command("rerun", "fox.mp4.json", "--set", "seed=5")
    assert [read_video_recipe(f"fox-again{number}.mp4").seed for number in ("", "-2")] == [1, 5]
    assert "is the video that is made again" in command("rerun", "fox.mp4", "-o", "fox.mp4", "--set", "seed=6", fails=2)
    assert "--set seed: given twice" in command("rerun", "fox.mp4", "--set", "seed=1", "--set", "seed=2", fails=2)


def test_images_are_found_beside_the_video(command, tmp_path, monkeypatch):
    command("generate", "--steps", 1, "--seed", 1, "-o", "fox.mp4")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    command("rerun", "../fox.mp4", "-o", "again.mp4")
    assert np.array_equal(open_video("again.mp4").frames, open_video("../fox.mp4").frames)


def test_frames_of_an_earlier_video_do_not_remain(command):
    command("generate", "--steps", 1, "--seed", 1, "--frames", 9, "-o", "fox.png")
    Path("fox-side.png").touch()
    printed = command("generate", "--steps", 1, "--seed", 2, "--frames", 5, "-o", "fox.png")
    assert "note: fox-000.png ... fox-008.png will be replaced" in printed
    assert sorted(path.name for path in Path().glob("fox-0*.png")) == [f"fox-00{number}.png" for number in range(5)]
    assert Path("fox-side.png").exists()
    recipe = read_video_recipe("fox.png")  # the JSON: there is no file of this name
    assert recipe.seed == 2
    assert "prompt: a critter bounces" in command("info", "fox.png.json")
    command("rerun", "fox-003.png")
    first, again = (np.asarray(Image.open(f"{name}-000.png")) for name in ("fox", "fox-again"))
    assert np.array_equal(first, again)
