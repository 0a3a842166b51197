"""Adapter folders: the same adapter is loaded, completely, and only on its base model."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from refilm.checkpoints import fingerprint, load_adapter, read_card, save_adapter
from refilm.media.preprocessing import ImagePreprocessing
from refilm.model import Adapter

from ..model.tiny import ROTARY, SINCOS, adapter, conditioned, transformer

CARD, WEIGHTS, KEY = "adapter.json", "adapter.safetensors", "layers.1.key_value.weight"
BASE = "0123456789abcdef"


def save(made, folder, **options):
    save_adapter(made, folder, **({"base_fingerprint": BASE, "facts": {}} | options))


def edit(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def retensored(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


@pytest.fixture
def folder(tmp_path):
    save(adapter(), tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("options", [{}, {"query_norm": True}])
@pytest.mark.parametrize("size", [SINCOS, ROTARY])
def test_the_same_adapter_comes_back(tmp_path, size, options):
    model, made = transformer(size), adapter(size, **options)
    base = fingerprint(model)
    made.attach(model)
    given = conditioned(made, size)
    seen = model(*given)
    facts = {"steps": 3, "recipe": {"lr": 1e-4, "names": ["a", None]}, "psnr": math.inf}
    save(
        made,
        tmp_path / "a",
        base_fingerprint=base,
        facts=facts,
        preprocessing=ImagePreprocessing(image_encoder="clip"),
        dtype=None,
    )
    loaded = load_adapter(tmp_path / "a", base_fingerprint=base)
    assert loaded.size == made.size
    Adapter.detach(model)
    loaded.attach(model)
    assert torch.equal(model(*given), seen)
    card = read_card(tmp_path / "a")
    assert (card.base_fingerprint, card.image_encoder, card.dtype) == (base, "clip", "float32")
    assert card.facts == facts | {"psnr": None}


def test_is_kept_in_half_precision_and_read_as_asked(folder):
    state = adapter().state_dict()
    assert read_card(folder).dtype == "float16"
    for dtype in (None, torch.float32):
        for name, weight in load_adapter(folder, dtype=dtype).state_dict().items():
            assert weight.dtype == (dtype or torch.float16)
            assert torch.equal(weight, state[name].half().to(weight.dtype))


@pytest.mark.parametrize(("mask", "rights"), [(0o022, 0o644), (0o007, 0o660)])
def test_whoever_may_read_the_folder_may_read_the_weights(tmp_path, mask, rights):
    before = os.umask(mask)
    try:
        save(adapter(), tmp_path / "shared")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "shared").iterdir()} == {rights}


def test_another_base_is_refused_with_both_fingerprints(folder):
    assert load_adapter(folder, base_fingerprint=BASE)
    with pytest.raises(ValueError, match=f"trained on the base model {BASE}, does not fit the base model feed"):
        load_adapter(folder, base_fingerprint="feed")


DAMAGE = {
    "no card": (lambda f: (f / CARD).unlink(), f"{CARD}: no such file"),
    "card not JSON": (lambda f: (f / CARD).write_text("not"), f"{CARD}: not JSON"),
    "card not an object": (lambda f: (f / CARD).write_text("3"), f"{CARD}: must contain a JSON object"),
    "newer format": (lambda f: edit(f / CARD, format=2), rf"{CARD}: format 2 is newer than this refilm supports \(1\)"),
    "no format": (lambda f: edit(f / CARD, format=...), f"{CARD}: format: Field required"),
    "no base": (lambda f: edit(f / CARD, base_fingerprint=...), f"{CARD}: base_fingerprint: Field required"),
    "unknown field": (lambda f: edit(f / CARD, surprise=1), f"{CARD}: surprise: unknown"),
    "impossible size": (
        lambda f: edit(f / CARD, size={"layers": 0}),
        f"{CARD}: size.layers: Input should be greater than or equal to 1",
    ),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), f"{WEIGHTS}: no such file"),
    "weights cut off": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1]),
        f"{WEIGHTS}: is truncated or not",
    ),
    "weights empty": (lambda f: (f / WEIGHTS).write_bytes(b""), f"{WEIGHTS}: is truncated or not"),
    "missing key": (lambda f: retensored(f, lambda t: t.pop(KEY)), f"{WEIGHTS}: missing key {KEY}$"),
    "surplus key": (lambda f: retensored(f, lambda t: t.update(extra=torch.ones(1))), f"{WEIGHTS}: surplus key extra$"),
    "wrong shape": (
        lambda f: retensored(f, lambda t: t.update({KEY: t[KEY][1:].clone()})),
        rf"{WEIGHTS}: {KEY} has shape \(127, 64\), not \(128, 64\)",
    ),
    "NaN": (
        lambda f: retensored(f, lambda t: t[KEY][0, 3:4].fill_(math.nan)),
        f"{WEIGHTS}: {KEY} contains NaN or infinity",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(folder, kind):
    damage, message = DAMAGE[kind]
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load_adapter(folder)


def test_an_older_adapter_is_replaced_and_other_files_stay(tmp_path, folder):
    (folder / "notes.md").write_text("mine")
    save(adapter(ROTARY), folder)
    assert load_adapter(folder).size.heads == ROTARY.heads
    assert {path.name for path in folder.iterdir()} == {CARD, WEIGHTS, "README.md", "notes.md"}
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("weight", [math.nan, 1e6])
def test_what_cannot_be_kept_leaves_the_older_adapter(folder, weight):
    broken = adapter()
    with torch.no_grad():
        broken.layers[1].key_value.weight[3, 4] = weight
    with pytest.raises(ValueError, match=f"{KEY} contains NaN, infinity or values beyond torch.float16"):
        save(broken, folder)
    assert load_adapter(folder)


def test_an_interrupted_write_leaves_the_older_adapter(tmp_path, folder, monkeypatch):
    def full(tensors, path, **_):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("refilm.weights.tensors.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(adapter(ROTARY), folder)
    assert load_adapter(folder).size.heads == SINCOS.heads
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_an_adapter_that_cannot_take_its_place_is_not_lost(tmp_path, folder, monkeypatch):
    rename = Path.rename

    def busy(self, target):
        if self.name == "new" and target == folder:
            raise OSError(16, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(ValueError, match=r"adapter: cannot be replaced: .* busy; the new files are in "):
        save(adapter(ROTARY), folder)
    assert load_adapter(folder).size.heads == SINCOS.heads
    (new,) = tmp_path.glob("adapter-*")
    assert load_adapter(new).size.heads == ROTARY.heads


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "adapter").write_text("mine")
    with pytest.raises(ValueError, match="adapter: is a file; choose a folder"):
        save(adapter(), tmp_path / "adapter")
    assert (tmp_path / "adapter").read_text() == "mine"
