"""CLIP's image preprocessing compared with that of transformers."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from refilm.encoders.preprocessing import ImageProcessor

PUBLISHED = {  # of openai/clip-vit-large-patch14
    "crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224,
}  # fmt: skip
CONFIGS = {
    "published": PUBLISHED,
    "defaults": {},
    "nulls": {"image_mean": None, "size": None},
    "crop": {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 30}},
    "stretch": {"size": {"height": 9, "width": 31}, "do_center_crop": False, "resample": 1},
    "no resize": {"do_resize": False, "crop_size": 24, "rescale_factor": 0.01},
    "only resize": {"size": 24, "do_center_crop": False, "do_rescale": False, "do_normalize": False, "resample": 0},
    "only normalize": {"do_resize": False, "do_center_crop": False, "do_rescale": False, "image_std": [2.0, 3.0, 4.0]},
}


def image(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 100 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def ours(config: dict) -> ImageProcessor:
    return ImageProcessor.model_validate_json(json.dumps(config))


def theirs(config: dict) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(**{name: value for name, value in config.items() if value is not None})


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@settings(deadline=None, max_examples=15)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_pixels_are_those_of_transformers(config, size):
    given = image(*size)
    made = ours(config)([given, given])
    expected = theirs(config)([given, given], return_tensors="pt")["pixel_values"]
    assert torch.equal(made, expected.float())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_values_are_those_of_transformers(config):
    """They are part of a cache's key."""
    expected = theirs(config).to_dict()
    assert json.loads(json.dumps(ours(config).to_dict())) == json.loads(json.dumps(expected, default=str))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"image_std": [0.0, 1.0, 1.0]}, "image_std: must not be 0"),
        ({"size": {"height": 3}}, "size: must have shortest_edge, or height and width"),
        ({"crop_size": {"shortest_edge": 3}}, "crop_size: must have height and width"),
    ],
)
def test_impossible_values_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        ours(config)
