"""The whole workflow by its commands: clips are drawn, a base and an adapter are trained, a video is generated."""

import json
import shutil

import pytest

RECIPE = """
stage = "{stage}"
base = "model"
data = {{cache = "cache-{stage}", manifest = "clips"}}

[diffusion]
drop = {{text = 0, reference = 0, both = 0}}
curriculum = [{{until = 100, batch = 16}}]

[loop]
steps = {steps}
precision = "fp32"
optimizer = {{learning_rate = 3e-3, warm_up = 5, ema = 0}}
"""
BASE = """
[size]
layers = 2
heads = 2
text_dim = 128
text_length = 24
time_dim = 128
base_height = 8
base_width = 8
spatial_interpolation = 1.0

[defaults]
frames = 17
height = 32
width = 32
steps = 2
"""


@pytest.fixture
def folder(tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_base, tmp_path / "model", ignore=shutil.ignore_patterns("adapter", "transformer"))
    (tmp_path / "base.toml").write_text(RECIPE.format(stage="base", steps=60) + BASE)
    (tmp_path / "adapter.toml").write_text('out = "adapter"' + RECIPE.format(stage="adapter", steps=40))
    return tmp_path


def test_forty_steps_on_four_clips_teach_the_right_image(refilm, folder, fox):
    """All captions are equal, so that only the image identifies the clip."""

    def run(*words: object) -> str:
        result = refilm(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    run("data", "critters", "clips", "--clips", 4)
    for label in (folder / "clips" / "labels").iterdir():
        label.write_text("a critter\n")
    run("data", "check", "clips")
    run("train", "base.toml")
    output = run("train", "adapter.toml")
    assert "adapter: trained" in output

    scores = json.loads((folder / "adapter" / "adapter.json").read_text())["facts"]["scores"]
    assert scores["right"] < 0.97 * scores["none"]  # the frozen base, the same before and after
    assert scores["wrong"] > 1.03 * scores["none"]

    run("generate", "a critter", "--reference", fox, "--base", "model", "--adapter", "adapter", "-o", "video.mp4")
    assert (folder / "video.mp4").stat().st_size > 0
