"""Metrics with encoders of transformers, compared with transformers' own outputs on the same tiny random weights."""

import shutil

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer, Dinov2Model, ViTModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from refilm.errors import UserError
from refilm.evaluation.metrics import create

from ..samples import photograph, sample
from . import tiny

IMAGENET = {
    "size": {"shortest_edge": 256}, "crop_size": 224, "resample": 3,
    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return {kind: getattr(tiny, kind)(root / kind) for kind in ("clip", "dino", "dinov2")}


@pytest.fixture(scope="module")
def images():
    return [photograph("coffee", 230), photograph("chelsea", 300)]


def cosines(vectors: torch.Tensor) -> float:
    return float(torch.cosine_similarity(vectors[:1], vectors[1:]))


@torch.no_grad()
def test_clip_is_that_of_transformers(folders, images):
    model, process = CLIPModel.from_pretrained(folders["clip"]).eval(), CLIPImageProcessorPil()
    words = CLIPTokenizer.from_pretrained(folders["clip"])(["a cat on a mat"], return_tensors="pt")
    pixels = process([Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
    expected = model(**words, pixel_values=pixels.float())
    given = sample(images[1], images[0], prompt="a cat on a mat")
    found = create("clip_i", encoder=str(folders["clip"])).score(given)["clip_i"]
    assert found == pytest.approx([cosines(expected.image_embeds)], abs=1e-5)
    found = create("clip_t", encoder=str(folders["clip"])).score(given)["clip_t"]
    assert found == pytest.approx([float(expected.text_embeds @ expected.image_embeds[1])], abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("name", "kind", "model"), [("dino_i", "dino", ViTModel), ("dinov2_i", "dinov2", Dinov2Model)])
def test_vision_transformers_are_those_of_transformers(folders, images, name, kind, model):
    pixels = CLIPImageProcessorPil(**IMAGENET)([Image.fromarray(image) for image in images], return_tensors="pt")
    expected = model.from_pretrained(folders[kind]).eval()(pixel_values=pixels["pixel_values"].float())
    found = create(name, encoder=str(folders[kind])).score(sample(images[1], images[0]))[name]
    assert found == pytest.approx([cosines(expected.last_hidden_state[:, 0])], abs=1e-5)


@pytest.mark.parametrize(("name", "kind"), [("clip_i", "clip"), ("dino_i", "dino"), ("dinov2_i", "dinov2")])
def test_segments(folders, images, name, kind):
    """A mask of everything is the frame, centered on a gray square."""
    frame = images[0]
    side, high = frame.shape[1], frame.shape[0]
    square = np.full((side, side, 3), 127, np.uint8)
    square[(side - high) // 2 : (side - high) // 2 + high] = frame
    whole, part = (create(which, encoder=str(folders[kind])) for which in (name, f"{name}_segment"))
    masked = part.score(sample(frame, images[1], masks=np.ones((1, *frame.shape[:2]), bool)))
    assert list(masked.values()) == [pytest.approx(one) for one in whole.score(sample(square, images[1])).values()]


def test_each_frame_has_a_value(folders, images):
    video = np.stack([images[0], images[0][:, ::-1], images[0][::-1]])
    curve = create("clip_t", encoder=str(folders["clip"]), frames=2).score(sample(video, prompt="x" * 300))["clip_t"]
    first, last = (
        create("clip_t", encoder=str(folders["clip"])).score(sample(video[i], prompt="x" * 300)) for i in (0, 2)
    )
    assert curve == pytest.approx([*first["clip_t"], *last["clip_t"]], abs=1e-5)


def test_the_identity_names_weights_and_preprocessing(folders):
    made = create("dino_i", encoder=str(folders["dino"])).identity
    assert made["encoder"].startswith("dino, sha256 ")
    assert "256" in made["images"]
    assert made["frames"].startswith("at most 32 frames")


def test_the_cache_of_the_hub_is_used(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--facebook--dino-vits16"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    with pytest.raises(
        UserError, match="facebook/dino-vits16: not a local folder and not in the Hub cache; download it"
    ):
        create("dino_i")
    shutil.copytree(folders["dino"], repository / "snapshots" / "abc")
    assert create("dino_i").identity["encoder"].startswith("dino-vits16, sha256 ")


@pytest.mark.parametrize("source", ["nowhere", "a/b/c", "/etc", "../clip"])
def test_other_sources_are_refused(source):
    with pytest.raises(UserError, match=r"not a Hub repository id|config\.json"):
        create("clip_i", encoder=source)


def test_unusable_folders_are_refused(folders, tmp_path):
    def copy(name: str, **values: object):
        return str(tiny.changed(shutil.copytree(folders["clip"], tmp_path / name), **values))

    with pytest.raises(UserError, match=r"model_type: 'clip' is not vit or dinov2"):
        create("dino_i", encoder=str(folders["clip"]))
    with pytest.raises(UserError, match="auto_map: requests Python code"):
        create("clip_i", encoder=copy("code", auto_map={"AutoModel": "evil.Model"}))
    pickled = copy("pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"has no model.safetensors; convert it"):
        create("clip_i", encoder=pickled)
    damaged = copy("damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="damaged: cannot be loaded"):
        create("clip_i", encoder=damaged)
