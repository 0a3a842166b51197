"""Means over latent pixels."""

import numpy as np
import pytest

from refilm.geometry import Compression
from refilm.media.pooling import pooled

SMALL = Compression(space=4)


def test_pooling_is_the_mean_of_each_latent_pixels_own():
    mask = np.random.default_rng(0).random((9, 8, 12))
    small = pooled(mask, SMALL)
    assert small.shape == (3, 2, 3)
    assert small[0, 1, 2] == pytest.approx(mask[0, 4:8, 8:12].mean(), abs=1e-6)
    assert small[2, 0, 1] == pytest.approx(mask[5:9, 0:4, 4:8].mean(), abs=1e-6)


def test_colors_are_pooled_one_by_one():
    frames = np.random.default_rng(0).random((9, 8, 12, 3))
    colors = [pooled(frames[..., color], SMALL) for color in range(3)]
    assert np.array_equal(pooled(frames, SMALL), np.stack(colors, axis=-1))


def test_the_first_frame_is_repeated_as_its_latent_frame_is():
    frames = np.random.default_rng(0).random((9, 8, 12))
    once, twice = pooled(frames, SMALL), pooled(frames, Compression(space=4, patch_time=2))
    assert np.array_equal(twice, once[[0, 0, 1, 2]])
