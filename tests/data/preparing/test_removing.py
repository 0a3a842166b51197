"""rembg itself is called, without its network; tests of masks use a session of our own."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from refilm.data.preparing.removing import Rembg, background_remover


class RightHalf:
    """The interface of a rembg session."""

    def predict(self, image: Image.Image, *_: object, **__: object) -> list[Image.Image]:
        mask = Image.new("L", image.size)
        mask.paste(255, (image.width // 2, 0, image.width, image.height))
        return [mask]


def test_rembg_gives_the_mask_that_its_model_finds():
    remover = Rembg("right half", RightHalf())
    mask = np.asarray(remover(Image.new("RGB", (30, 20), (9, 9, 9))))
    assert mask.shape == (20, 30)
    assert (mask[:, 15:] == 255).all()
    assert (mask[:, :15] == 0).all()
    assert remover.name == "rembg right half"


def test_a_model_that_cannot_be_fetched_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(
        ValueError, match=r"rembg could not load its model 'u2netp' \(.*first use, so connect to the internet once"
    ):
        background_remover("u2netp")
    with pytest.raises(ValueError, match=r"rembg has no model 'u3net'; choose one of .*u2net, "):
        background_remover("u3net")


@pytest.mark.parametrize("missing", ["rembg", "onnxruntime"])
def test_a_missing_library_says_how_to_get_it(monkeypatch, missing):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else there(name))
    with pytest.raises(
        ValueError, match=rf"requires {missing}, which is not installed; pip install 'refilm\[prepare\]'"
    ):
        background_remover()
