"""`refilm generate` and `finish`, killed at random moments: files are whole, and the video is the uninterrupted one."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.data import critters
from refilm.generation.recipe import recipe_path
from refilm.generation.states import load_state
from refilm.media import open_video

KILLS = 60
COMMAND = [sys.executable, "-m", "refilm.cli"]
OPTIONS = ["--steps", "40", "--seed", "1", "--guidance", "3", "--step-cache", "0.1", "--reference", "fox.png"]


@pytest.mark.slow
def test_killed_videos_are_finished(tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subject = critters.subjects("held_out")[0]
    Image.fromarray(critters.portrait(subject, np.random.default_rng(0))).save("fox.png")
    generate = [*COMMAND, "generate", "a critter bounces in the meadow", "--base", str(tiny_base), *OPTIONS]
    subprocess.run([*generate, "-o", "whole.mp4"], check=True, timeout=300)
    expected = open_video("whole.mp4").frames
    moments, video, state = random.Random(0), Path("fox.mp4"), Path("fox.mp4.state")
    kills = went_on = finished = 0
    while kills < KILLS or not video.exists():
        if video.exists():
            assert np.array_equal(open_video(video).frames, expected)
            finished += 1
            for path in (video, recipe_path(video), state):
                path.unlink(missing_ok=True)
        went_on += state.exists()
        words = [*COMMAND, "finish", str(state)] if state.exists() else [*generate, "-o", str(video)]
        kills += killed([*words, "--save-state-every", "1"], state, video, moments)
        if state.exists():
            assert load_state(state).state.step.steps == 40
    assert np.array_equal(open_video(video).frames, expected)
    assert went_on > KILLS / 3  # many kills hit the sampling
    assert finished
    state.unlink(missing_ok=True)  # the last process may have been killed before it removed it
    subprocess.run([*generate, "-o", "fox.mp4"], check=True, timeout=300)  # removes what killed processes have left
    assert {path.name for path in tmp_path.iterdir()} - {"fox.png", "whole.mp4", "whole.mp4.json"} == {
        "fox.mp4",
        "fox.mp4.json",
    }


def killed(words: list[str], state: Path, video: Path, moments: random.Random) -> bool:
    """Run until a random moment after the first state that is new; whether the process was killed before its end."""
    before = state.stat().st_mtime_ns if state.exists() else 0
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (state.exists() and state.stat().st_mtime_ns > before) and not video.exists():
        time.sleep(0.005)
    time.sleep(moments.choice([0.0, 0.05, 0.2, 0.6, 1.5]) * moments.random())
    process.kill()
    return process.wait() != 0
