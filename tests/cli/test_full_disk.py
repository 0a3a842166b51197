"""A disk that fills up during a command is one line and exit code 2."""

import pytest

from ..disk import limited_files
from ..tiny_recipe import write_recipe

PROMPT = "a critter bounces in the meadow"
REASON = "exceeds the largest file size of this file system; choose another place"


@pytest.mark.parametrize("name", ["video.mp4", "video.webm", "video.gif", "video.webp", "video.png"])
def test_while_a_video_is_written(refilm, tiny_base, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with limited_files(100):
        result = refilm("generate", PROMPT, "-o", name, "--base", tiny_base, "--steps", 1)
    assert (result.exit_code, result.stdout) == (2, "")
    state, line = result.stderr.splitlines()
    assert state.startswith("step 1 of 1 cannot be saved: ")
    assert line.startswith(f"error: {tmp_path / 'video'}")
    assert line.endswith(REASON)
    assert not any(tmp_path.iterdir())


def test_while_a_checkpoint_is_written(refilm, tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path / "tiny.toml", base=tiny_base, cache=tmp_path / "cache")
    words = ("train", recipe, "--set", "loop.steps=1")
    assert refilm(*words, "--run", "whole").exit_code == 0
    with limited_files(20_000):
        result = refilm(*words, "--run", "short")
    assert result.exit_code == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert line.endswith("File too large; the checkpoint of step 1 is not saved; earlier checkpoints are kept")
