"""`refilm calibrate`, and the step cache that reads its file."""

import json
import shutil

import pytest
import torch

from refilm import load as refilm_load
from refilm.checkpoints import MAGNITUDES
from refilm.generation.states import load_state, save_state

VIDEO = ("--steps", 8, "--sampler", "ddim", "--adapter", "none", "--seed", 1)
CACHE = ("--step-cache", 5, "--step-cache-rule", "magnitude")


@pytest.fixture
def base(tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "base")
    return tmp_path / "base"


def test_a_base_model_is_calibrated_and_its_blocks_are_skipped(refilm, base, tmp_path):
    video = tmp_path / "video.gif"
    generate = ("generate", "a critter waits", "--base", base, *VIDEO, *CACHE, "-o", video)
    done = refilm(*generate)
    assert done.exit_code == 2
    assert f"has no {MAGNITUDES}, which a step cache by magnitudes needs" in done.stderr.replace("\n", " ")

    done = refilm("calibrate", "a critter waits", "--base", base, *VIDEO)
    assert done.exit_code == 0, done.output
    assert f"{base / MAGNITUDES}: unconditional, conditional; 8 timesteps" in done.stdout.replace("\n", "")
    assert refilm(*generate).exit_code == 0
    made = json.loads(video.with_name("video.gif.json").read_text())["made"]
    assert 0 < made["skipped"] < made["passes"] == 16
    require_same_from_a_state(refilm_load(base, adapter=None), tmp_path / "middle.state")

    stored = json.loads((base / MAGNITUDES).read_text())
    (base / MAGNITUDES).write_text(json.dumps(stored | {"fingerprint": "another"}))
    assert "was measured with another transformer" in refilm(*generate).stderr.replace("\n", " ")
    (base / MAGNITUDES).write_text(json.dumps(stored | {"timesteps": [1, 2]}))
    assert f"{MAGNITUDES}: magnitudes: give at least two timesteps" in refilm(*generate).stderr.replace("\n", " ")


def require_same_from_a_state(pipeline, path):
    """A run that goes on from a saved state skips the same steps."""
    request = pipeline.request(steps=8, sampler="ddim", step_cache=5, step_cache_rule="magnitude")
    whole = pipeline.sample(["a critter"], [None], seeds=[1], request=request)
    for step in whole:
        if step.index == 4:
            save_state(whole, path)
    stored = load_state(path)
    rest = pipeline.sample(["a critter"], [None], seeds=[1], request=request, state=stored.state)
    assert len([*rest]) == 3
    assert torch.equal(rest.latents, whole.latents)
    assert rest.cache.skipped == whole.cache.skipped > 0


def test_the_pocket_models_calibration_is_not_replaced(refilm):
    done = refilm("calibrate", "a critter waits")
    assert done.exit_code == 2
    assert "pocket: has its magnitudes.json" in done.stderr
