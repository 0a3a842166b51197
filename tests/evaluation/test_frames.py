import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.evaluation.frames import GRAY, segment, spaced


@given(st.integers(1, 500), st.integers(1, 64))
def test_frames_are_those_of_opens2v(count, most):
    """Its script takes `np.linspace(0, total - 1, number, dtype=int)`; videos with fewer frames are taken whole."""
    expected = np.linspace(0, count - 1, most, dtype=int) if count > most else np.arange(count)
    assert spaced(count, most).tolist() == expected.tolist()


def test_a_segment_is_centered_on_gray():
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    mask = np.zeros((5, 6), bool)
    mask[1, 1:5] = mask[2, 2] = True
    part = np.asarray(segment(image, mask))
    assert part.shape == (4, 4, 3)
    assert (part[[0, 3]] == GRAY).all()
    assert (part[1] == image[1, 1:5]).all()
    assert (part[2, 1] == image[2, 2]).all()
    assert (part[2, [0, 2, 3]] == GRAY).all()


@pytest.mark.parametrize("shape", [(4, 4), (1, 7)])
def test_an_empty_mask_has_no_segment(shape):
    assert segment(np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)) is None
