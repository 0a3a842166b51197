"""The commands with a base model whose tokens cover two latent frames, as in CogVideoX 1.5."""

import json
from pathlib import Path

import pytest
import torch

from refilm.checkpoints import load_base
from refilm.data.encoding import EncodedSet
from refilm.media import open_video
from refilm.recipes import read_recipe

RECIPE = """
stage = "adapter"
base = "{base}"
out = "out"
data = {{cache = "{cache}", clips = 6, held_out_clips = 4}}
loop = {{steps = 4, validate_every = 2}}

[diffusion]
still_fraction = 0.5
curriculum = [{{until = 2, latent_frames = 2, batch = 2}}, {{until = 9, batch = 2}}]

[videos]
prompts = ["a critter waits"]
steps = 2
"""


@pytest.fixture(scope="module")
def recipe(tiny_base_15, tmp_path_factory):
    """A recipe whose clips are encoded."""
    folder = tmp_path_factory.mktemp("recipe")
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(base=tiny_base_15, cache=folder / "cache"))
    for _ in read_recipe(path).prepare():
        pass
    return path


@pytest.fixture
def run(refilm, tmp_path, monkeypatch):
    """Run a command that ends with an exit code; returns what it printed, in one line."""
    monkeypatch.chdir(tmp_path)

    def ended(*words, code=0):
        result = refilm(*words)
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    return ended


def test_clips_have_the_first_latent_frame_twice(recipe):
    clip = EncodedSet(recipe.with_name("cache") / "train")[0]
    assert clip.mean.shape[0] == 6  # of 17 frames
    assert torch.equal(clip.mean[0], clip.mean[1])
    assert torch.equal(clip.logvar[0], clip.logvar[1])
    assert not torch.equal(clip.mean[1], clip.mean[2])


def test_a_still_is_two_latent_frames(tiny_base_15):
    base = load_base(tiny_base_15, device="cpu")
    mean, _ = base.encoders.autoencoder.posterior(torch.zeros(1, 1, 32, 32, 3, dtype=torch.uint8))
    assert mean.shape[1] == base.compression.latent_frames(1) == 2
    assert base.encoders.autoencoder.decode(mean).shape == (1, 1, 32, 32, 3)


@pytest.mark.parametrize(
    "changes",
    [
        ["diffusion.checkpointing=selective", "train.base_dtype=int8", "loop.precision=bf16"],
        ["train.lora={rank=2}", "diffusion.checkpointing=full"],
        ["train.what=all"],
    ],
    ids=["int8", "LoRA", "all"],
)
def test_it_is_trained_and_generates_with_heat_maps(run, recipe, tiny_base_15, fox, changes):
    words = ("train", recipe, *(word for change in changes for word in ("--set", change)))
    assert "activations" in run(*words, "--dry-run")
    run(*words)
    (sample,) = Path("runs/recipe/videos").glob("step-*4-1.mp4")
    assert len(open_video(sample).frames) == 17

    whole = "train.what=all" in changes
    model = ("--base", "out") if whole else ("--base", tiny_base_15, "--adapter", "out")
    run("generate", "a critter waits", *model, "--reference", fox, "--frames", 9, "--explain", "-o", "a.mp4")
    assert len(open_video("a.mp4").frames) == len(open_video("a.attention.mp4").frames) == 9
    assert not whole or json.loads(Path("out/transformer/config.json").read_text())["sample_frames"] == 17


def test_numbers_that_are_no_whole_tokens_are_refused(run, recipe, tiny_base_15):
    printed = run("generate", "a critter", "--base", tiny_base_15, "--frames", 13, "-o", "a.mp4", code=2)
    assert "13 frames: the number must be 8k + 1, for instance 9 or 17" in printed
    lessons = "diffusion.curriculum=[{until=2, latent_frames=3, batch=2}]"
    printed = run("train", recipe, "--set", lessons, code=2)
    assert "latent_frames 3 is not a multiple of 2, the latent frames that a token of the base model" in printed
    assert "use 2 or 4" in printed


def test_clips_of_another_base_with_the_same_autoencoder_are_refused(run, recipe, tiny_base):
    sets = {name: str(recipe.with_name("cache") / folder) for name, folder in (("cache", "train"), ("held_out",) * 2)}
    data = "data={" + ", ".join(f"{name}='{folder}'" for name, folder in sets.items()) + "}"
    printed = run("train", recipe, "--set", f"base={tiny_base}", "--set", data, code=2)
    assert "its latents come from other encoders than the base model's" in printed


def test_info_names_its_tokens_and_sat_has_none_of_them(run, tiny_base_15):
    assert "patch_time=2" in run("info", tiny_base_15)
    assert "CogVideoX 1.5 cannot be converted to SAT" in run("convert", tiny_base_15, "sat", code=2)
    assert not Path("sat").exists()
