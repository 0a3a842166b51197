"""Images as clips: one latent frame each, the first one of a video that shows the image."""

import numpy as np
import torch
from PIL import Image
from skimage import data

from refilm.data import Example, Reference
from refilm.data.cutting import fitted
from refilm.data.encoding import EncodedSet

from .clips import SETTINGS


def test_a_still_is_encoded_as_the_first_frame_of_a_video_that_shows_it(tmp_path, encoding):
    cat, cup = tmp_path / "cat.png", tmp_path / "cup.png"
    Image.fromarray(data.chelsea()).save(cat)
    Image.fromarray(data.coffee()).save(cup)
    frame = fitted(data.chelsea(), (SETTINGS.height, SETTINGS.width))
    examples = [Example(cat, "a cat", (Reference(cat),)), Example(cup, "a cup", (Reference(cat),))]
    Image.new("L", (451, 300), 255).save(tmp_path / "white.png")
    examples.append(Example(cat, "a cat", (Reference(cat),), mask=tmp_path / "white.png"))
    encoding(examples, tmp_path / "cache")
    clips = EncodedSet(tmp_path / "cache")
    mean, _ = encoding.encoders.autoencoder.posterior(torch.from_numpy(np.stack([frame] * 5))[None])
    assert list(clips.buckets) == [(1, *mean.shape[3:])]
    for place in (0, 2):
        assert (clips[place].mean.float() - mean[0, :1]).abs().max() < 0.02
    assert clips[2].mask is not None
    assert (clips[2].mask == 1).all()
    longer = SETTINGS.model_copy(update={"frames": 9, "fps": 4.0})
    assert encoding(examples, tmp_path / "cache", settings=longer) == 0  # length and rate do not concern stills
