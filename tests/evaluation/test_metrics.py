import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.evaluation import accuracy, psnr, wilson


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(hits, count, low, high):
    assert wilson(hits, count) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_contains_its_fraction_and_stays_between_0_and_1(trial):
    hits, count = trial
    low, high = wilson(hits, count)
    assert 0 <= low <= hits / count + 1e-12
    assert hits / count - 1e-12 <= high <= 1


@pytest.mark.parametrize(("hits", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_refused(hits, count):
    with pytest.raises(ValueError, match=f"received {hits} of {count}"):
        wilson(hits, count)


def test_accuracy_counts():
    score = accuracy([True, False, True, True])
    assert (score.fraction, score.count) == (0.75, 4)
    assert (score.low, score.high) == wilson(3, 4)


def test_psnr_of_known_errors():
    black = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    assert psnr(black, black) == math.inf
    assert psnr(black, black + 255) == pytest.approx(0)
    assert psnr(black, black + 1) == pytest.approx(20 * math.log10(255))
    assert psnr([0.0, 0.0], [0.1, 0.1], peak=1) == pytest.approx(20)


def test_psnr_of_uint8_does_not_wrap_around():
    a, b = np.full(4, 250, dtype=np.uint8), np.full(4, 5, dtype=np.uint8)
    assert psnr(a, b) == psnr(b, a) == pytest.approx(20 * math.log10(255 / 245))


def test_psnr_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"received \(2, 3\) and \(3,\)"):
        psnr(np.zeros((2, 3)), np.zeros(3))
