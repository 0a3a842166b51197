"""`refilm preview fit`: from checked clips to a file that the base model finds."""

import re
import shutil

import pytest
import torch

from refilm.checkpoints import load_base
from refilm.data.critters.files import write_clips
from refilm.previews import PREVIEW, LinearPreview


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("critters") / "clips"
    list(write_clips(folder, clips=7, split="train", seed=0, references=1))
    return folder


@pytest.fixture
def checked(refilm, clips):
    done = refilm("data", "check", clips, "--workers", 1)
    assert done.exit_code == 0, done.output
    return clips


@pytest.fixture
def base(tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "base")
    return tmp_path / "base"


def test_the_file_is_written_into_the_base_models_folder(refilm, checked, base):
    done = refilm("preview", "fit", checked, "--base", base)
    assert done.exit_code == 0, done.output
    assert f"{base / PREVIEW}: fitted to 5 clips; correlation with 2 held-out clips: mean " in done.stdout
    mean, lowest = (float(number) for number in re.findall(r"(?:mean|lowest) (\S+?),?\s", done.stdout))
    assert -1 <= lowest <= mean <= 1
    loaded = load_base(base, memory="low")
    assert isinstance(loaded.preview, LinearPreview)
    assert loaded.preview.weight.abs().max() > 0.01
    before = loaded.preview.weight
    assert refilm("preview", "fit", checked, "--base", base, "--frames", 5).exit_code == 0  # replaces it
    assert not torch.equal(load_base(base, memory="low").preview.weight, before)


def test_or_where_it_is_wanted(refilm, checked, base, tmp_path):
    out = tmp_path / "p.safetensors"
    done = refilm("preview", "fit", checked, "--base", base, "-o", out, "--size", "32x32")
    assert done.exit_code == 0, done.output
    assert out.exists()
    assert not (base / PREVIEW).exists()


def test_what_cannot_be_fitted_is_one_error(refilm, checked, clips, base, tmp_path):
    for words, message in (
        ((checked, "--base", "pocket"), "pocket: is not a folder of yours; give the output file: -o preview.saf"),
        ((checked, "--base", "THUDM/CogVideoX-2b"), "THUDM/CogVideoX-2b: is not a folder of yours"),
        ((checked, "--base", base, "-o", "p.pt"), "p.pt: the name of a preview's file must end in .safetensors"),
        ((tmp_path, "--base", base), "has not been checked; run: refilm data check"),
    ):
        done = refilm("preview", "fit", *words)
        assert done.exit_code == 2
        assert message in done.stderr.replace("\n", " ")
    (tmp_path / "one").mkdir()
    list(write_clips(tmp_path / "one" / "clips", clips=1, split="train", seed=0, references=1))
    assert refilm("data", "check", tmp_path / "one" / "clips", "--workers", 1).exit_code == 0
    done = refilm("preview", "fit", tmp_path / "one" / "clips", "--base", base)
    assert done.exit_code == 2
    assert "one video is not enough, because one in 5 is held out; add videos" in done.stderr
