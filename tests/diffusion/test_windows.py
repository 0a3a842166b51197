"""Overlapping windows in time: they cover the video, blend exactly, and give each window its part of everything."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refilm.diffusion import Windows, windowed
from refilm.errors import UserError
from refilm.model import References, Row, conditional_rows

lengths = st.integers(1, 9).flatmap(lambda length: st.tuples(st.just(length), st.integers(0, length - 1)))


@given(st.integers(1, 60), lengths, st.integers(1, 2))
def test_windows_cover_every_frame_with_weights_that_sum_to_one(frames, window, patch_time):
    length, overlap = window
    windows = Windows(frames, length, overlap, patch_time)
    starts, weights = windows.starts, windows.weights()
    assert starts[0] == 0
    assert frames <= length or starts[-1] + length == frames
    assert all(1 <= other - one <= length - overlap for one, other in pairwise(starts))
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(frames, dtype=torch.float64))
    assert weights.min() >= 0
    if overlap:
        assert not weights[torch.arange(1, len(starts)), torch.tensor(starts[1:], dtype=torch.long)].any()


def test_weights_fade_from_one_window_to_the_next():
    assert Windows(9, 6, 3).weights().tolist() == [
        pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3, 0, 0, 0]),
        pytest.approx([0, 0, 0, 0, 1 / 3, 2 / 3, 1, 1, 1]),
    ]


@given(st.integers(6, 30), st.integers(1, 4), st.integers(1, 2))
def test_a_function_of_the_latents_is_blended_exactly(frames, overlap, patch_time):
    latents = torch.randn(2, frames * patch_time, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    model = windowed(lambda x, *_, **__: x.sin(), Windows(frames, 5, overlap, patch_time))
    torch.testing.assert_close(model(latents, torch.zeros(2), torch.zeros(2, 1, 1), None), latents.sin())


def test_each_window_gets_its_latents_masks_and_rows():
    seen = []

    def model(latents, timesteps, text, references, /, *, rows=None):
        seen.append((latents[0, :, 0, 0, 0].tolist(), references.where[0, 0].tolist(), rows))
        return latents

    latents = torch.arange(7.0).view(1, 7, 1, 1, 1).expand(1, 7, 1, 1, 2)
    where = torch.arange(14.0).view(1, 1, 14)  # two tokens a frame
    references = References(torch.zeros(1, 1, 1, 4), where=where)
    windowed(model, Windows(7, 4, 1))(latents, torch.zeros(1), torch.zeros(1, 1, 1), references)
    assert seen == [
        ([0, 1, 2, 3], [*range(8)], [Row("conditional", 0, 0)]),
        ([0, 4, 5, 6], [0, 1, *range(8, 14)], [Row("conditional", 0, 3)]),  # the first frame of the video first
    ]
    seen.clear()
    windowed(model, Windows(8, 4, 0))(
        latents[:, [*range(7), 6]],
        torch.zeros(1),
        torch.zeros(1, 1, 1),
        replace(references, where=where.repeat(1, 1, 2)[..., :16]),
    )
    assert [frames for frames, *_ in seen] == [[0, 1, 2, 3], [4, 5, 6, 6]]  # hard cuts have no frame to spare


def test_a_video_of_one_window_is_the_models_own():
    model = lambda *_, **__: None  # noqa: E731
    assert windowed(model, Windows(5, 5, 2)) is model
    assert windowed(model, Windows(3, 5, 2)) is model


def test_windows_must_advance():
    with pytest.raises(UserError, match="windows of 4 token frames cannot overlap by 4; use fewer"):
        Windows(9, 4, 4)


def test_rows_without_windows_are_those_of_before():
    assert conditional_rows(2) == (Row("conditional", 0), Row("conditional", 1))
    assert Row("conditional", 0).window == 0
