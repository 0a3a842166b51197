"""The aesthetic score with a random predictor in the published layout."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from refilm.errors import UserError
from refilm.evaluation.encoders.clip import Clip
from refilm.evaluation.metrics import create
from refilm.evaluation.metrics.aesthetic import load_head

from ..encoders import tiny
from ..samples import photograph, sample


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(tiny.clip(tmp_path_factory.mktemp("clip"), width=768))


@pytest.fixture
def published(tmp_path):
    """The layers of the published predictor, as its authors write them."""
    layers = nn.Sequential(
        *(nn.Linear(768, 1024), nn.Dropout(0.2), nn.Linear(1024, 128), nn.Dropout(0.2)),
        *(nn.Linear(128, 64), nn.Dropout(0.1), nn.Linear(64, 16), nn.Linear(16, 1)),
    ).eval()
    torch.save({f"layers.{key}": value for key, value in layers.state_dict().items()}, tmp_path / "head.pth")
    return layers, tmp_path / "head.pth"


@torch.no_grad()
def test_scores_are_those_of_the_published_layers(clip, published):
    layers, file = published
    image = photograph("coffee", 230)
    vector = Clip(clip, "cpu").vectors([Image.fromarray(image)])
    expected = float(layers(vector / vector.norm()))
    metric = create("aesthetic", encoder=clip, head=str(file))
    assert metric.score(sample(image))["aesthetic"] == pytest.approx([expected], abs=1e-5)
    assert metric.identity["predictor"].startswith("head.pth, sha256 ")


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_with_code_or_other_tensors_is_refused(tmp_path):
    torch.save({"layers.0.weight": Touch(tmp_path / "ran")}, tmp_path / "code.pth")
    torch.save({"layers.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    for name in ("code", "other"):
        with pytest.raises(UserError, match=f"{name}.pth: cannot be loaded"):
            load_head(tmp_path / f"{name}.pth")
    assert not (tmp_path / "ran").exists()


def test_a_missing_predictor_is_named():
    with pytest.raises(UserError, match="BestWishYsh/OpenS2V-Weight: not a local folder and not in the Hub cache"):
        create("aesthetic")
