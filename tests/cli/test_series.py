"""Drafts, sweeps, and videos that are finished or made again on the command line, by processes that are stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.data import critters
from refilm.generation.recipe import read_video_recipe, recipe_path
from refilm.media import open_video

PROMPT = "a critter bounces in the meadow"


@pytest.fixture
def command(refilm, tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subject = critters.subjects("held_out")[0]
    Image.fromarray(critters.portrait(subject, np.random.default_rng(0))).save("fox.png")

    def run(*words: object, fails: int = 0) -> str:
        result = refilm(*words)
        assert result.exit_code == fails, result.output
        return result.output

    return run


@pytest.fixture
def asked(tiny_base):
    return [PROMPT, "--base", str(tiny_base), "--reference", "fox.png", "--guidance", "3", "--step-cache", "0.2"]


def frames(path):
    return open_video(path).frames


def test_a_finished_draft_is_the_video_of_its_seed(command, asked):
    output = command("draft", *asked, "--steps", 4, "--seeds", 3, "--first-seed", 5, "--until", 2, "-o", "drafts")
    assert "seed 6: refilm finish drafts/6.state" in output
    with Image.open("drafts/sheet.png") as sheet:
        assert sheet.height > 3 * sheet.width / 8
    command("finish", "drafts/6.state")
    command("generate", *asked, "--steps", 4, "--seed", 6, "-o", "whole.mp4")
    assert np.array_equal(frames("drafts/6.mp4"), frames("whole.mp4"))
    assert read_video_recipe("drafts/6.mp4").makes_same_video_as(read_video_recipe("whole.mp4"))
    assert read_video_recipe("drafts/6.mp4").made.passes == read_video_recipe("whole.mp4").made.passes
    before = Path("drafts/5.state").stat().st_mtime_ns
    command("draft", *asked, "--steps", 4, "--seeds", 4, "--first-seed", 5, "--until", 2, "-o", "drafts")
    assert Path("drafts/5.state").stat().st_mtime_ns == before
    assert Path("drafts/8.state").is_file()
    assert "stop before the last" in command("draft", *asked, "--steps", 4, "--until", 4, fails=2)


def test_a_sweep_makes_only_what_is_missing(command, asked):
    command("sweep", *asked, "--over", "steps=1,2", "--over", "subject.scale=0.5,1", "-o", "sweep")
    cells = {f"{row}-{column}": Path(f"sweep/{row}-{column}.mp4") for row in (1, 2) for column in (1, 2)}
    recipes = {name: read_video_recipe(path) for name, path in cells.items()}
    assert [recipes[name].settings.steps for name in ("1-2", "2-1")] == [1, 2]
    assert [recipes[name].subjects[0].scale for name in ("1-2", "2-1")] == [1, 0.5]
    assert not np.array_equal(frames(cells["1-1"]), frames(cells["1-2"]))
    page = Path("sweep/index.html").read_text()
    assert all(path.name in page for path in cells.values())
    assert "subject.scale 0.5" in page
    assert len(open_video("sweep/grid.mp4").frames) == 17
    cells["2-1"].unlink()
    times = {name: path.stat().st_mtime_ns for name, path in cells.items() if name != "2-1"}
    assert "4 videos, 1 of them new" in command(
        "sweep", *asked, "--over", "steps=1,2", "--over", "subject.scale=0.5,1", "-o", "sweep"
    )
    assert times == {name: cells[name].stat().st_mtime_ns for name in times}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--over", "stepss=1,2"], "stepss: unknown; did you mean steps?"),
        (["--over", "steps"], "--over 'steps': give NAME=VALUE, for example steps=10,20,50"),
        (["--over", "steps=1,x"], "error: steps: Input should be a valid integer"),
        (["--over", "seed=1", "--over", "steps=1", "--over", "fps=1"], "3 values to sweep over; give one or two"),
    ],
)
def test_bad_sweeps_are_refused(command, asked, words, message):
    assert message in command("sweep", *asked, *words, fails=2)


def test_metadata_can_be_left_out(command, asked):
    command("generate", *asked, "--steps", 1, "--no-metadata", "-o", "plain.mp4", "--seed", 1)
    assert not recipe_path(Path("plain.mp4")).exists()
    assert "contains no recipe" in command("rerun", "plain.mp4", fails=2)


def test_a_video_is_made_again_with_one_change(command, asked):
    command("generate", *asked, "--steps", 2, "-o", "fox.mp4", "--seed", 1, "--scale", 2)
    command("rerun", "fox.mp4")
    assert np.array_equal(frames("fox-again.mp4"), frames("fox.mp4"))
    command("rerun", "fox.mp4.json", "--set", "steps=3", "--set", "prompt=a critter in the rain", "-o", "other.gif")
    recipe = read_video_recipe("other.gif")
    assert (recipe.settings.steps, recipe.prompt, recipe.scale) == (3, "a critter in the rain", 2)
    Path("fox.png").rename("moved.png")
    assert "fox.png: is not there; the video was made with the image of sha256" in command("rerun", "fox.mp4", fails=2)
    command("rerun", "fox.mp4", "--references", ".")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_video_is_finished(command, asked, sent, tmp_path):
    words = [*asked, "--steps", "60", "--seed", "1", "--memory", "high"]
    whole = [sys.executable, "-m", "refilm.cli", "generate", *words, "-o", "fox.mp4"]
    process = subprocess.Popen(
        [*whole, "--save-state-every", "1"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # shells ignore it in the background
    )
    while not Path("fox.mp4.state").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (130 if sent == signal.SIGINT else 143)
    assert "continue with: refilm finish fox.mp4.state" in errors
    assert not Path("fox.mp4").exists()
    command("finish", "fox.mp4.state")
    assert not Path("fox.mp4.state").exists()
    subprocess.run([*whole[:-1], "whole.mp4"], check=True, timeout=300, env=os.environ)
    assert np.array_equal(frames("fox.mp4"), frames("whole.mp4"))
