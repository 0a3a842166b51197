"""The preview of a base model: stored with it, copied with it, or from a file."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import refilm
from refilm.backbones.cogvideox.sat import save_sat
from refilm.checkpoints import convert, copy_base, load_base, load_transformer
from refilm.errors import UserError
from refilm.previews import PREVIEW, LinearPreview, TinyDecoder, preview_of

from .test_linear import random
from .test_tiny import published


@pytest.fixture(scope="module")
def with_preview(tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("with") / "base"
    shutil.copytree(tiny_base, folder)
    random().save(folder / PREVIEW)
    return folder


def test_a_base_model_finds_its_preview(with_preview, tiny_base):
    base = load_base(with_preview, memory="low")
    assert torch.equal(base.preview.weight, random().weight)
    assert base.preview.compression == base.compression
    assert preview_of(base) is base.preview
    none = load_base(tiny_base, memory="low")
    assert none.preview is None
    with pytest.raises(UserError, match=r"tiny: has no preview.safetensors; fit one: refilm preview fit CLIPS --base"):
        preview_of(none)


def test_one_for_other_channels_is_refused_when_it_is_used(with_preview, tmp_path):
    shutil.copytree(with_preview, tmp_path / "base")
    random(channels=4).save(tmp_path / "base" / PREVIEW)
    base = load_base(tmp_path / "base")
    with pytest.raises(UserError, match=r"preview.safetensors: is for latents with 4 channels, the base model's have"):
        preview_of(base)


def test_a_file_comes_first(with_preview, tmp_path):
    base = load_base(with_preview, memory="low")
    random(seed=5).save(tmp_path / "other.safetensors")
    other = preview_of(base, tmp_path / "other.safetensors")
    assert isinstance(other, LinearPreview)
    assert torch.equal(other.weight, random(seed=5).weight)
    save_file(published(), tmp_path / "taecvx.safetensors")
    pocket = load_base("pocket", memory="low", dtype="bfloat16")
    tiny = preview_of(pocket, tmp_path / "taecvx.safetensors")
    assert isinstance(tiny, TinyDecoder)
    assert tiny.network.first.weight.dtype == torch.bfloat16
    with pytest.raises(UserError, match="decodes 8 x 8 pixels"):
        preview_of(base, tmp_path / "taecvx.safetensors")
    with pytest.raises(UserError, match="no such file"):
        preview_of(base, tmp_path / "nothing.safetensors")


def test_copies_of_a_base_model_keep_it(with_preview, tmp_path):
    copy_base(with_preview, tmp_path / "copy")
    assert (tmp_path / "copy" / PREVIEW).read_bytes() == (with_preview / PREVIEW).read_bytes()


def test_conversion_of_a_sat_folder_keeps_it(with_preview, tmp_path):
    save_sat(tmp_path / "sat", load_transformer(with_preview / "transformer"), None, frames=17)
    convert(tmp_path / "sat", tmp_path / "without")
    assert not (tmp_path / "without" / PREVIEW).exists()
    shutil.copyfile(with_preview / PREVIEW, tmp_path / "sat" / PREVIEW)
    convert(tmp_path / "sat", tmp_path / "new")
    assert (tmp_path / "new" / PREVIEW).read_bytes() == (with_preview / PREVIEW).read_bytes()


def test_every_step_of_the_sampler_can_be_shown(with_preview):
    pipeline = refilm.load(with_preview)
    request = pipeline.request(steps=2)
    preview = preview_of(pipeline.base)
    for step in pipeline.sample(["a critter"], [None], seeds=[0], request=request):
        assert preview.frames(step.clean[0]).shape == (5, 8, 8, 3)
        assert preview.video(step.clean[0], fps=8).frames.shape == (17, 32, 32, 3)
    (decoded,) = pipeline.decode(step.latents)
    assert decoded.frames.shape == (17, 32, 32, 3)
    assert np.array_equal(preview.frames(step.clean[0]), preview.frames(step.latents[0]))
