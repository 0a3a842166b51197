"""Attaching adapters: from the base model, the Hub or a SAT checkpoint; those of other models are rejected."""

import logging
import shutil

import numpy as np
import pytest
import torch

import refilm
from refilm import load
from refilm.checkpoints import convert, describe, load_adapter, load_denoiser, read_card, save_adapter
from refilm.model import Adapter
from refilm.training.tasks.warm_start import initial_adapter

from ..model.tiny import wild
from .test_bases import PROMPT, cached, clip, hub, sat_base  # noqa: F401 - hub is a fixture

MINE = "me/mine"


def test_an_adapter_of_the_hub_is_taken_wherever_a_folder_is(tiny_base, tmp_path, hub, refilm, fox):  # noqa: F811
    cached(hub, MINE, tiny_base / "adapter")
    own = load_adapter(tiny_base / "adapter").state_dict()

    def is_own(adapter):
        return all(torch.equal(own[name], weight) for name, weight in adapter.state_dict().items())

    assert is_own(load_adapter(MINE))
    assert is_own(load_denoiser(tiny_base, adapter=MINE).adapter)
    assert is_own(load(tiny_base, adapter=MINE).adapter)
    assert is_own(initial_adapter(MINE, load_adapter(MINE).size))
    assert describe(MINE).kind == "adapter"
    convert(MINE, tmp_path / "sat.pt")
    assert is_own(load_denoiser(tiny_base, adapter=MINE).adapter)
    for words in (("info", MINE), ("convert", MINE, tmp_path / "sat"), ("generate", PROMPT, "--base", tiny_base,
                  "--adapter", MINE, "--steps", 1, "--reference", fox, "-o", tmp_path / "x.mp4")):  # fmt: skip
        result = refilm(*words)
        assert result.exit_code == 0, result.output


def test_a_base_of_the_hub_is_told_and_converted(tiny_base, tmp_path, hub):  # noqa: F811
    cached(hub, MINE, tiny_base)
    assert describe(MINE).kind == "base model, diffusers' layout"
    assert convert(MINE, tmp_path / "sat.safetensors").written


def test_what_is_not_on_the_hub_is_one_line(refilm, hub):  # noqa: F811
    for words in (("generate", PROMPT, "--adapter", MINE, "-o", "x.mp4"), ("info", MINE), ("convert", MINE, "out")):
        result = refilm(*words)
        assert result.exit_code == 2
        assert f"{MINE}: not a local folder, not in the Hub cache" in result.stderr


def test_the_adapter_in_a_sat_checkpoint_is_loaded(tmp_path, hub, fox):  # noqa: F811
    """The same adapter as in the base model that `convert` creates."""
    folder = sat_base(tmp_path / "sat")
    clip(tmp_path / "clip")
    cached(hub, "openai/clip-vit-large-patch14", tmp_path / "clip")
    convert(folder / "transformer", tmp_path / "base")
    asked = {"seed": 1, "steps": 2, "frames": 5, "height": 32, "width": 48}
    ours, theirs = refilm.load(folder), refilm.load(tmp_path / "base")
    assert ours.adapter is not None
    assert theirs.adapter is not None
    videos = [pipeline.generate(PROMPT, fox, **asked).frames for pipeline in (ours, theirs)]
    assert np.array_equal(*videos)
    assert not np.array_equal(videos[0], ours.generate(PROMPT, **asked).frames)  # the image counts
    assert refilm.load(folder, adapter=None).adapter is None


def test_another_models_adapter_is_refused_by_name(tiny_base, tmp_path):
    made, folder = load_adapter(tiny_base / "adapter"), tmp_path / "other"
    save_adapter(made, folder, base_fingerprint="feedfeedfeedfeed", facts={"base": {"source": "me/base"}})
    with pytest.raises(ValueError, match=rf"trained on the base model me/base \(feed.*\), .* {tiny_base} \("):
        refilm.load(tiny_base, adapter=folder)
    save_adapter(made, folder, base_fingerprint="feedfeedfeedfeed", facts={})
    with pytest.raises(ValueError, match=r"trained on the base model feedfeedfeedfeed, does not fit the base model"):
        refilm.load(tiny_base, adapter=folder)
    save_adapter(made, folder, base_fingerprint=None, facts={})
    assert refilm.load(tiny_base, adapter=folder).adapter is not None  # nobody knows


def test_the_image_encoder_may_lie_elsewhere(tiny_base, tmp_path, hub, refilm, fox):  # noqa: F811
    """The adapter's image encoder is on the Hub, and there is no network."""
    folder = shutil.copytree(tiny_base, tmp_path / "published", ignore=shutil.ignore_patterns("image_*", "adapter"))
    size = load_adapter(tiny_base / "adapter").size
    small = type(size)(size.layers, size.heads, size.head_dim, reference_dim=16)
    save_adapter(wild(Adapter(small)), tmp_path / "a", base_fingerprint=None, facts={})
    clip(tmp_path / "clip")
    words = ("generate", PROMPT, "--base", folder, "--adapter", tmp_path / "a", "--reference", fox, "--steps", 1,
             "-o", tmp_path / "x.mp4")  # fmt: skip
    result = refilm(*words)
    assert result.exit_code == 2
    assert "or pass its folder as image_encoder (--image-encoder)" in result.stderr
    assert refilm(*words, "--image-encoder", tmp_path / "clip").exit_code == 0
    with pytest.raises(ValueError, match=r"its tokens have 16 channels, the adapter needs \d+; use the image encoder"):
        load(tiny_base, image_encoder=tmp_path / "clip").generate(PROMPT, fox, seed=1, steps=1)


def test_half_precision_on_a_cpu_is_warned_of(tiny_base, caplog):
    with caplog.at_level(logging.WARNING, logger="refilm"):
        refilm.load(tiny_base, dtype="bfloat16", device="cpu", memory="low")
        assert not caplog.messages
        refilm.load(tiny_base, dtype="float16", device="cpu", memory="low")
    assert caplog.messages == ["float16 is many times slower on a CPU than float32: omit dtype, or use float32"]


def test_the_adapter_that_ships_is_still_for_the_base_that_ships():
    """Fingerprints of 0.1 are unchanged."""
    base = load(memory="low").base
    assert base.fingerprint() == read_card("pocket").base_fingerprint == "bb004aea5e7fbbc5"
