"""Drafts, sweeps, and videos that are finished or made again on the command line, by processes that are stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from refilm.cli.sweep import _axis
from refilm.data import critters
from refilm.diffusion import SamplerStep
from refilm.generation.recipe import read_video_recipe, recipe_path
from refilm.generation.sampling import Sampling
from refilm.generation.states import load_state
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
    assert "4 videos, 1 new" in command(
        "sweep", *asked, "--over", "steps=1,2", "--over", "subject.scale=0.5,1", "-o", "sweep"
    )
    assert times == {name: cells[name].stat().st_mtime_ns for name in times}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--over", "stepss=1,2"], "stepss: unknown; did you mean steps?"),
        (["--over", "steps"], "--over 'steps': give NAME=VALUE, for example steps=10,20,50"),
        (["--over", "steps=1,x"], "error: steps: Input should be a valid integer"),
        (
            ["--over", "steps=x", "--over", "subject.scale=much"],
            "subject.scale: Input should be a valid number (received 'much'); steps: Input should be a valid integer",
        ),
        (["--over", "subject.scale=1,much"], "error: subject.scale: "),
        (["--over", "seed=1", "--over", "seed=2"], "seed: is given twice; give all its values at once: seed=VALUE"),
        (["--over", "seed="], "--over 'seed=': has no values; give NAME=VALUE,VALUE"),
        (["--over", 'prompt="a, b'], "quote values with commas or line breaks as in CSV"),
        (["--over", "frames=5,10", "--steps", "1"], "10 frames: the number must be 4k + 1"),
        (["--over", "seed=1", "--over", "steps=1", "--over", "fps=1"], "3 values to sweep over; give one or two"),
    ],
)
def test_bad_sweeps_are_refused(command, asked, words, message):
    assert message in command("sweep", *asked, *words, fails=2)
    assert not Path("sweep").exists()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('"a critter spins, slowly",a critter waits', ("a critter spins, slowly", "a critter waits")),
        ('"a critter says ""no, no""", a critter waits', ('a critter says "no, no"', "a critter waits")),
        ('"a, b", "1"', ("a, b", "1")),
        ("1, 0.5,true", (1, 0.5, True)),
        ("[1, 2], [3, 4]", ([1, 2], [3, 4])),
        ('"",a', ("", "a")),
    ],
)
def test_values_with_commas_are_quoted(text, values):
    assert _axis(f"prompt={text}") == ("prompt", values)


def test_a_sweep_over_prompts_with_commas(command, asked):
    over = 'prompt="a critter spins, slowly",a critter waits'
    assert "2 videos, 2 new" in command("sweep", *asked, "--steps", 1, "--over", over, "-o", "sweep")
    prompts = [read_video_recipe(f"sweep/1-{column}.mp4").prompt for column in (1, 2)]
    assert prompts == ["a critter spins, slowly", "a critter waits"]


def contents(folder: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(folder).iterdir()}


def test_a_sweep_does_not_touch_another(command, asked):
    first = ["sweep", *asked, "--steps", 1, "--over", "seed=1,2", "-o", "sweep"]
    assert "1 video, 1 new" in command("sweep", *asked, "--steps", 1, "--over", "seed=1", "-o", "sweep")
    assert "2 videos, 1 new" in command(*first)  # the same sweep, with one more value
    before = contents("sweep")
    for over in ("steps=1,2", "seed=1"):  # another second video; none
        message = command("sweep", *asked, "--steps", 1, "--over", over, "-o", "sweep", fails=2)
        assert "is not of this series; choose another folder with --output" in message
    assert contents("sweep") == before
    Path("other").mkdir()
    Path("other/index.html").write_text("mine")
    assert "other/index.html: is not of this series" in command(*first[:-1], "other", fails=2)


def test_drafts_do_not_touch_others(command, asked):
    words = ["--steps", 3, "--until", 1, "-o", "drafts"]
    assert "2 drafts, step 1 of 3" in command("draft", *asked, *words, "--seeds", 2)
    before = contents("drafts")
    for others in (["--seeds", 1, "--guidance", 4], ["--first-seed", 7, "--seeds", 1, "--reference-scale", 0.5]):
        assert "drafts/0.state: is not of this series" in command("draft", *asked, *words, *others, fails=2)
    assert contents("drafts") == before
    Path("other").mkdir()
    Path("other/sheet.png").write_text("mine")
    assert "other/sheet.png: is not of this series" in command("draft", *asked, *words[:-1], "other", fails=2)


def test_drafts_go_on_from_their_states(command, asked, monkeypatch):
    words = ["draft", *asked, "--steps", 4, "--seeds", 1]
    command(*words, "--until", 3, "-o", "whole")
    command(*words, "--until", 1, "-o", "drafts")
    steps: list[int] = []
    step = Sampling.__next__

    def counting(sampling: Sampling) -> SamplerStep:
        steps.append(sampling.done)
        return step(sampling)

    monkeypatch.setattr(Sampling, "__next__", counting)
    assert "1 draft, step 3 of 4" in command(*words, "--until", 3, "-o", "drafts")
    assert steps == [1, 2]
    assert torch.equal(*(load_state(f"{name}/0.state").state.step.latents for name in ("drafts", "whole")))
    assert "2 drafts, steps 2, 3 of 4" in command(*words, "--until", 2, "-o", "drafts", "--seeds", 2)
    assert steps == [1, 2, 0, 1]  # a state that is further is kept


@pytest.mark.parametrize("words", [["draft"], ["sweep", "--over", "seed=1,2"]])
def test_a_file_in_the_place_of_the_folder_is_refused_before_the_model_is_loaded(command, asked, words):
    Path("file").touch()
    name, *over = words
    message = command(name, *asked, "--base", "nowhere", *over, "-o", "file", fails=2)
    assert "file: is a file; choose a folder" in message


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
