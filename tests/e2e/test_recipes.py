"""Every recipe in `recipes/` runs, with fewer and smaller steps; the pocket recipes as in their README."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.checkpoints import copy_base, read_card, whole_base
from refilm.data import critters

RECIPES = Path(__file__).parents[2] / "recipes"
PAGE = RECIPES / "pocket" / "README.md"

# Settings that keep a run short; all others are the recipe's.
ONE_STEP = ["loop.steps=1", "loop.save_every=1", "loop.validate_every=1"]
STILLS = ["diffusion.curriculum=[{until=1, latent_frames=1, batch=2}]", "diffusion.validation.samples=8"]
DRAWN = ["data.clips=2", "data.held_out_clips=2"]
SMALLER = {
    "critters": [*ONE_STEP, *STILLS, *DRAWN],
    "folder": [*ONE_STEP, *STILLS],
    "pocket/autoencoder-half": [*ONE_STEP, "autoencoder.curriculum=[{until=1, frames=1, crop=16, batch=1}]"],
    "pocket/autoencoder": [
        *ONE_STEP,
        "autoencoder.curriculum=[{until=1, frames=9, crop=16, batch=1, objective='rms'}]",
    ],
    "pocket/autoencoder-further": [
        *ONE_STEP,
        "autoencoder.curriculum=[{until=1, frames=9, crop=16, batch=1, objective='psnr'}]",
    ],
    "pocket/encoders": [*ONE_STEP, "encoders.batch=8"],
    "pocket/base": [*ONE_STEP, *STILLS, *DRAWN],
    "pocket/adapter": [*ONE_STEP, *STILLS, *DRAWN],
    "pocket/base-further": [*ONE_STEP, *STILLS, *DRAWN],
    "pocket/adapter-further": [*ONE_STEP, *STILLS],
    "wan/base": [*ONE_STEP, *STILLS, *DRAWN],
    "wan/adapter": [*ONE_STEP, *STILLS, *DRAWN],
}
FEWER = {"runs/road/train": ["--clips", "2"], "runs/road/held_out": ["--clips", "2"]}


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A folder that contains only the recipes, as in a fresh clone."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RECIPES, tmp_path / "recipes")
    return tmp_path


def train(refilm, recipe: str, *words: str) -> None:
    changes = [word for change in SMALLER[recipe] for word in ("--set", change)]
    result = refilm("train", f"recipes/{recipe}.toml", *changes, *words)
    assert result.exit_code == 0, f"{recipe}: {result.output}"


def test_each_recipe_is_tested():
    assert {str(path.relative_to(RECIPES).with_suffix("")) for path in RECIPES.rglob("*.toml")} == set(SMALLER)


def test_a_model_is_trained_from_scratch_as_the_page_says(clone, refilm):
    """All five stages in order; the result generates a video."""
    for line in block("from scratch"):
        if line.startswith("refilm train"):
            train(refilm, line.split("recipes/")[1].split(".toml")[0])
    model = clone / "runs" / "pocket" / "model"
    shipped = RECIPES.parent / "src" / "refilm" / "pocket" / "model"
    assert {path.name for path in shipped.iterdir() if path.is_dir()} <= {path.name for path in model.iterdir()}
    video = ("generate", "a critter bounces in the meadow", "--base", model, "--steps", 1, "-o", "video.mp4")
    assert refilm(*video).exit_code == 0
    assert (clone / "video.mp4").stat().st_size > 0


def test_a_tiny_wan_is_trained_and_makes_a_video(clone, refilm):
    model = clone / "runs" / "wan" / "model"
    copy_base(whole_base("pocket"), model)
    train(refilm, "wan/base")
    train(refilm, "wan/adapter")
    assert read_card(model / "adapter").size.family == "wan"
    portrait = critters.portrait(critters.subjects("held_out")[0], np.random.default_rng(0), size=64)
    Image.fromarray(portrait).save(clone / "fox.png")
    video = ("generate", "a critter bounces", "--reference", clone / "fox.png", "--base", model, "--steps", 2)
    assert refilm(*video, "-o", "video.mp4").exit_code == 0
    assert (clone / "video.mp4").stat().st_size > 0


def test_the_shipped_model_is_trained_further_as_the_page_says(clone, refilm):
    shutil.copytree(RECIPES.parent / "src" / "refilm" / "pocket" / "model", clone / "runs" / "pocket" / "model")
    before = adapter(clone)
    for line in block("Trained further"):
        words = shlex.split(line)[1:]
        if line.startswith("refilm train"):
            train(refilm, line.split("recipes/")[1].split(".toml")[0])
        elif line.startswith("refilm"):
            result = refilm(*words, *FEWER.get(words[2], ()))
            assert result.exit_code == 0, f"{line}: {result.output}"
    assert adapter(clone) != before


def test_an_adapter_learns_a_folder_s_clips(clone, refilm):
    assert refilm("data", "critters", "clips", "--clips", 4).exit_code == 0
    assert refilm("data", "check", "clips").exit_code == 0
    train(refilm, "folder")
    assert (clone / "runs" / "folder" / "adapter" / "adapter.safetensors").is_file()


def test_the_first_recipe_runs_and_passes_its_self_test(clone, refilm):
    """`--overfit` with the recipe, on stills, which take a fifth of the time."""
    train(refilm, "critters")
    assert (clone / "runs" / "critters" / "adapter" / "adapter.safetensors").is_file()
    before = sorted(clone.rglob("*"))
    train(refilm, "critters", "--overfit", "2")
    assert sorted(clone.rglob("*")) == before  # it leaves no files


def block(heading: str) -> list[str]:
    """The command lines that follow the page's heading with this ending."""
    text = PAGE.read_text(encoding="utf-8")
    return re.search(rf"^#.*{heading}$.*?^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1].splitlines()


def adapter(clone: Path) -> bytes:
    return (clone / "runs" / "pocket" / "model" / "adapter" / "adapter.safetensors").read_bytes()
