"""What a run refuses it refuses before its first step, and a dry run refuses it in the same words."""

import shutil
import sys
from pathlib import Path

import pytest

from refilm.recipes import read_recipe

from ..tiny_recipe import write_recipe

ENCODERS = """
stage = "encoders"
out = "{out}"
encoders = {{ width = 16, heads = 2, text_layers = 1, image_layers = 1, batch = 4 }}
loop = {{ steps = 1, optimizer = {{ ema = 0.0 }} }}
"""
AUTOENCODER = """
stage = "autoencoder"
out = "{out}"
autoencoder = {{ channels = [8, 8], curriculum = [{{ until = 1, batch = 1, frames = 1, crop = 16 }}] }}
loop = {{ steps = 1 }}
"""
BASE = """
stage = "base"
base = "{out}"
size = {{ layers = 1, heads = 1 }}
defaults = {{}}
data = {{ cache = "cache" }}
diffusion = {{ curriculum = [{{ until = 1, batch = 1 }}] }}
loop = {{ steps = 1 }}
"""
LONE = 'data={cache="%s/train"}'


@pytest.fixture(scope="module")
def cache(tmp_path_factory, tiny_base) -> Path:
    place = tmp_path_factory.mktemp("clips")
    for _ in read_recipe(write_recipe(place / "tiny.toml", base=tiny_base, cache=place / "cache")).prepare():
        pass
    return place / "cache"


@pytest.fixture
def recipe(tiny_base, cache, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "half").mkdir()
    return write_recipe(tmp_path / "tiny.toml", base=tiny_base, cache=cache)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["out=file"], "file: is a file; choose a folder"),
        (["out=file/in/it"], "is a file; choose a folder"),
        (['data={cache="half"}'], "half"),
        (['data={cache="file/in/it", clips=2}'], "is a file; choose a folder"),
        ([LONE, "hidden_state=last"], "come from other encoders than the base model's"),
        (["init_from=nowhere"], "nowhere/adapter.json"),
        (["init_from=pocket"], "init_from: "),
        (['train.lora={targets=["nothing"]}'], "no linear layer of the transformer is called 'nothing'"),
        (['videos={prompts=["a"], references=["file", "file"]}'], "videos.references: 2 images for 1 prompts"),
        (['videos={prompts=["a"], references=["file"]}'], "file"),
        ([f'videos.prompts=["{"a critter waits " * 20}"]'], "the limit of this model is 24"),
        (["loop.accumulate=8"], "a batch of 4 cannot be split over 1 processes in 8 parts"),
        (["diffusion.curriculum=[{until=1,batch=4},{until=9,batch=1}]", "loop.accumulate=2"], "a batch of 1 cannot"),
        (["loop.optimizer.kind=adamw8bit-bitsandbytes"], "adamw8bit-bitsandbytes"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(refilm, recipe, cache, tmp_path, changes, words):
    changes = [word for change in changes for word in ("--set", change.replace("%s", str(cache)))]
    real, dry = refilm("train", recipe, *changes), refilm("train", recipe, *changes, "--dry-run")
    assert (real.exit_code, dry.exit_code) == (2, 2), real.output + dry.output
    assert words in real.stderr
    assert dry.stderr == real.stderr
    assert "step 1" not in real.stdout
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("clips", ["are encoded", "are to be encoded"])
@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("text_encoder/model.safetensors", None, "model.safetensors: no such file"),
        ("image_encoder/model.safetensors", b"\x00" * 100, "is truncated or not a safetensors file"),
        ("vae/config.json", b"no", "vae/config.json: not JSON"),
        ("tokenizer/spiece.model", None, "tokenizer/tokenizer.json: no such file"),
        ("image_processor/preprocessor_config.json", None, "preprocessor_config.json: no such file"),
    ],
)
def test_a_dry_run_checks_encoders_as_the_run_does(refilm, recipe, tiny_base, tmp_path, clips, file, content, words):
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    (base / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    (base / file).unlink() if content is None else (base / file).write_bytes(content)
    changes = ["--set", f"base={base}"] + (["--set", "data.cache=new"] if clips == "are to be encoded" else [])
    real, dry = refilm("train", recipe, *changes), refilm("train", recipe, *changes, "--dry-run")
    assert (real.exit_code, dry.exit_code) == (2, 2), real.output + dry.output
    assert words in real.stderr
    assert dry.stderr == real.stderr


def test_a_dry_run_misses_peft_and_checkpoints_as_the_run_does(refilm, recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    for words in (["--set", "train.lora={}"], ["--resume"]):
        real, dry = refilm("train", recipe, *words), refilm("train", recipe, *words, "--dry-run")
        assert (real.exit_code, dry.exit_code) == (2, 2)
        assert dry.stderr == real.stderr


@pytest.mark.parametrize("text", [ENCODERS, AUTOENCODER, BASE], ids=["encoders", "autoencoder", "base"])
@pytest.mark.parametrize("way", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_every_stage_refuses_an_out_that_cannot_be(refilm, recipe, tmp_path, text, way):
    recipe.write_text(text.format(out="file"))
    result = refilm("train", recipe, *way)
    assert result.exit_code == 2
    assert "file: is a file; choose a folder" in result.stderr or "/file is a file; choose a folder" in result.stderr
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("name", ["runs/tiny", "runs"])
def test_a_run_folder_that_cannot_be_is_refused(refilm, recipe, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    for way in ([], ["--dry-run"]):
        result = refilm("train", recipe, *way)
        assert result.exit_code == 2
        assert "is a file; choose a folder" in result.stderr


def test_the_encoders_files_are_delivered_with_them_and_not_before(recipe, tmp_path):
    recipe.write_text(ENCODERS.format(out="out"))
    made = read_recipe(recipe)
    list(made.prepare())
    task = made.task()
    assert not (tmp_path / "out").exists()
    (tmp_path / "out" / "tokenizer").mkdir(parents=True)
    (tmp_path / "out" / "tokenizer" / "spiece.model").write_bytes(b"older")
    made.deliver(task, {})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "text_encoder",
        "tokenizer",
        "image_encoder",
        "image_processor",
    }
    assert (tmp_path / "out" / "tokenizer" / "spiece.model").stat().st_size > 1000
