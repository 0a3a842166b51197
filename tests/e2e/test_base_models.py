"""The commands with other base models than CogVideoX-2B: CogVideoX 1.5, whose tokens cover two latent frames; Wan."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from refilm.checkpoints import load_base, load_denoiser, save_adapter
from refilm.data.encoding import EncodedSet
from refilm.errors import UserError
from refilm.geometry import AdapterSize
from refilm.media import open_video
from refilm.model import Adapter
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


def prepared(base, folder):
    """A recipe whose clips are encoded."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(base=base, cache=folder / "cache"))
    for _ in read_recipe(path).prepare():
        pass
    return path


@pytest.fixture(scope="module")
def recipe_15(tiny_base_15, tmp_path_factory):
    return prepared(tiny_base_15, tmp_path_factory.mktemp("recipe-15"))


@pytest.fixture(scope="module")
def recipe_wan(tiny_wan, tmp_path_factory):
    return prepared(tiny_wan, tmp_path_factory.mktemp("recipe-wan"))


@pytest.fixture(params=["15", "wan"])
def recipe(request):
    return request.getfixturevalue(f"recipe_{request.param}")


@pytest.fixture
def run(refilm, tmp_path, monkeypatch):
    """Run a command that ends with an exit code; returns what it printed, in one line."""
    monkeypatch.chdir(tmp_path)

    def ended(*words, code=0):
        result = refilm(*words)
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    return ended


@pytest.mark.parametrize(
    "changes",
    [
        ["diffusion.checkpointing=selective", "train.base_dtype=int8", "loop.precision=bf16"],
        ["train.lora={rank=2}", "diffusion.checkpointing=full"],
        ["train.what=all"],
    ],
    ids=["int8", "LoRA", "all"],
)
def test_it_is_trained_and_generates_with_heat_maps(run, recipe, fox, changes):
    words = ("train", recipe, *(word for change in changes for word in ("--set", change)))
    assert "activations" in run(*words, "--dry-run")
    run(*words)
    (sample,) = Path("runs/recipe/videos").glob("step-*4-1.mp4")
    assert len(open_video(sample).frames) == 17

    whole = "train.what=all" in changes
    model = ("--base", "out") if whole else ("--base", read_recipe(recipe).base, "--adapter", "out")
    run("generate", "a critter waits", *model, "--reference", fox, "--frames", 9, "--explain", "-o", "a.mp4")
    assert len(open_video("a.mp4").frames) == len(open_video("a.attention.mp4").frames) == 9
    assert not whole or json.loads(Path("out/transformer/config.json").read_text()).get("sample_frames", 17) == 17


def test_an_adapter_of_another_family_is_refused_with_both_names(run, tiny_base, tiny_wan, recipe_wan, tmp_path):
    own, foreign = tiny_base / "adapter", tmp_path / "foreign"
    size = AdapterSize(layers=2, heads=2, head_dim=24, family="wan")
    save_adapter(Adapter(size), foreign, base_fingerprint=None, facts={"base": {"source": "me/wan"}})
    asked = ("generate", "a critter", "-o", "a.mp4", "--base")
    printed = run(*asked, tiny_base, "--adapter", foreign, code=2)
    wanted = (
        f"{foreign}: an adapter for Wan (base model me/wan) does not fit CogVideoX (base model {tiny_base}); use the"
    )
    assert wanted.replace(" ", "") in printed.replace(" ", "")
    printed = run(*asked, tiny_wan, "--adapter", own, code=2)
    assert "an adapter for CogVideoX does not fit Wan (base model" in printed
    printed = run("train", recipe_wan, "--set", f"init_from={own}", code=2)
    assert f"init_from: {own}: an adapter for CogVideoX does not fit Wan".replace(" ", "") in printed.replace(" ", "")
    with pytest.raises(UserError, match=r"adapter: an adapter for CogVideoX does not fit Wan; use the base model"):
        load_denoiser(tiny_wan, adapter=own)


def test_wan_2_2_is_refused(run, tiny_wan, tmp_path):
    folder = shutil.copytree(tiny_wan, tmp_path / "wan")
    index = json.loads((folder / "model_index.json").read_text())
    assert index.get("transformer_2", [None, None]) == [None, None]  # as diffusers writes it for Wan 2.1
    second = {"transformer_2": ["diffusers", "WanTransformer3DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index | second))
    printed = run("generate", "a critter", "--base", folder, "-o", "a.mp4", code=2)
    assert "transformer_2: is a Wan 2.2, which has two transformers; refilm supports Wan 2.1" in printed


def test_an_adapter_of_wan_is_described_pushed_and_not_converted(run, tiny_wan, recipe_wan, tmp_path):
    assert not read_recipe(recipe_wan).notes()  # none about SAT
    size = AdapterSize(layers=2, heads=2, head_dim=24, family="wan")
    save_adapter(Adapter(size), tmp_path / "a", base_fingerprint=None, facts={})
    assert "| model family | Wan |" in Path("a/README.md").read_text()
    assert "family='wan'" in run("info", "a")
    assert "nothing was uploaded" in run("push", "a", "me/a", "--dry-run")
    for weights in (tiny_wan, "a"):
        assert "Wan have no format other than diffusers' layout" in run("convert", weights, "sat", code=2)


def test_clips_have_the_first_latent_frame_twice(recipe_15):
    clip = EncodedSet(recipe_15.with_name("cache") / "train")[0]
    assert clip.mean.shape[0] == 6  # of 17 frames
    assert torch.equal(clip.mean[0], clip.mean[1])
    assert torch.equal(clip.logvar[0], clip.logvar[1])
    assert not torch.equal(clip.mean[1], clip.mean[2])


def test_a_still_is_two_latent_frames(tiny_base_15):
    base = load_base(tiny_base_15, device="cpu")
    mean, _ = base.encoders.autoencoder.posterior(torch.zeros(1, 1, 32, 32, 3, dtype=torch.uint8))
    assert mean.shape[1] == base.compression.latent_frames(1) == 2
    assert base.encoders.autoencoder.decode(mean).shape == (1, 1, 32, 32, 3)


def test_numbers_that_are_no_whole_tokens_are_refused(run, recipe_15, tiny_base_15):
    printed = run("generate", "a critter", "--base", tiny_base_15, "--frames", 13, "-o", "a.mp4", code=2)
    assert "13 frames: the number must be 8k + 1, for instance 9 or 17" in printed
    lessons = "diffusion.curriculum=[{until=2, latent_frames=3, batch=2}]"
    printed = run("train", recipe_15, "--set", lessons, code=2)
    assert "latent_frames 3 is not a multiple of 2, the latent frames that a token of the base model" in printed
    assert "use 2 or 4" in printed


def test_clips_of_another_base_with_the_same_autoencoder_are_refused(run, recipe_15, tiny_base):
    sets = {
        name: str(recipe_15.with_name("cache") / folder) for name, folder in (("cache", "train"), ("held_out",) * 2)
    }
    data = "data={" + ", ".join(f"{name}='{folder}'" for name, folder in sets.items()) + "}"
    printed = run("train", recipe_15, "--set", f"base={tiny_base}", "--set", data, code=2)
    assert "its latents come from other encoders than the base model's" in printed


def test_info_names_its_tokens_and_sat_has_none_of_them(run, tiny_base_15):
    assert "patch_time=2" in run("info", tiny_base_15)
    assert "CogVideoX 1.5 cannot be converted to SAT" in run("convert", tiny_base_15, "sat", code=2)


def test_the_note_on_sat_is_for_models_that_sat_has(tiny_base, recipe_15, recipe_wan, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(base=tiny_base, cache=tmp_path / "cache"))
    for recipe, has_note in ((path, True), (recipe_15, False), (recipe_wan, False)):
        notes = read_recipe(recipe, {"query_norm": True}).notes()
        assert ("cannot be converted to SAT" in " ".join(notes)) == has_note
    assert not Path("sat").exists()
