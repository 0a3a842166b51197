"""Motion amplitude of OpenS2V on videos whose flow is known."""

import numpy as np
import pytest

from refilm.errors import UserError
from refilm.evaluation.metrics import create

from ..samples import photograph, sample


@pytest.fixture(scope="module")
def amplitude():
    metric = create("amplitude")
    return lambda frames: metric.score(sample(frames))["amplitude"]


def moving(right: int, down: int) -> np.ndarray:
    """A photograph that moves by some pixels in each of five frames."""
    image = photograph("astronaut", 256)
    return np.stack([np.roll(image, (down * i, right * i), (0, 1))[32:-32, 32:-32] for i in range(5)])


def test_the_mean_is_taken_over_both_components(amplitude):
    assert amplitude(moving(2, 0)) == pytest.approx(1, rel=0.1)
    assert amplitude(moving(2, 1)) == pytest.approx(1.5, rel=0.1)
    assert amplitude(moving(-2, 0)) == pytest.approx(1, rel=0.1)


def test_opposite_motions_cancel(amplitude):
    """A weakness of the benchmark that its total score has."""
    assert amplitude(moving(2, -2)) < 0.2
    there = moving(2, 0)
    assert amplitude(np.concatenate([there, there[::-1]])) < 0.1


def test_a_still_has_none(amplitude):
    assert amplitude(moving(0, 0)) < 0.01


def test_one_frame_has_no_motion(amplitude):
    with pytest.raises(UserError, match="case: amplitude needs at least 2 frames"):
        amplitude(photograph("coffee", 60))
