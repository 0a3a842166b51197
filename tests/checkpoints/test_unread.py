"""Encoders opened for inspection: their properties are available without reading their weights."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from refilm.backbones.cogvideox.sizes import pocket
from refilm.checkpoints import fingerprint, load_encoders
from refilm.data.encoding import identify

PARTS = {"text": "text_encoder", "image": "image_encoder", "autoencoder": "vae"}


def encoders_of(base: Path, dtype: torch.dtype = torch.float32):
    return load_encoders(base, pocket(), device=torch.device("cpu"), dtype=dtype)


@pytest.fixture
def base(tiny_base, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


@pytest.mark.parametrize("part", PARTS)
def test_no_number_is_read(base, part):
    (path,) = (base / PARTS[part]).glob("*.safetensors")
    weights = load_file(path)
    weights[min(weights)].view(-1)[-1] = torch.nan
    save_file(weights, path, metadata={"format": "pt"})
    encoders = encoders_of(base)
    getattr(encoders.unread, part)
    with pytest.raises(ValueError, match=f"{path.name}: {min(weights)} contains NaN"):
        getattr(encoders, part)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_they_are_told_apart_as_those_in_memory_are(base, dtype):
    encoders = encoders_of(base, dtype)
    loaded: Any = SimpleNamespace(**{part: getattr(encoders, part) for part in PARTS})
    assert {next(part.model.parameters()).dtype for part in (loaded.text, loaded.image, loaded.autoencoder)} == {dtype}
    loaded.unread = loaded
    assert identify(encoders, fingerprint) == identify(loaded, fingerprint)


@pytest.mark.parametrize("part", PARTS)
def test_what_does_not_fit_its_config_is_refused(base, part):
    (path,) = (base / PARTS[part]).glob("*.safetensors")
    weights = load_file(path)
    name = max(weights)
    weights[name] = torch.zeros(3, 5, 7)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{path.name}: {name} has shape \(3, 5, 7\)"):
        getattr(encoders_of(base).unread, part)
