"""Convolutions give the same results folded, in parts, and as PyTorch computes them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from refilm.backbones import convolutions
from refilm.backbones.convolutions import Conv3d


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.sampled_from([(1, 1, 1), (3, 3, 3), (3, 1, 1), (1, 3, 3), (5, 3, 3)]),
    size=st.tuples(st.integers(5, 9), st.integers(3, 9), st.integers(3, 9)),
)
def test_one_convolution_and_its_gradients(batch, channels, kernel, size):
    torch.manual_seed(1)
    padding = (0, kernel[1] // 2, kernel[2] // 2)
    plain, folded = nn.Conv3d(*channels, kernel, padding=padding), Conv3d(*channels, kernel, padding=padding)
    folded.load_state_dict(plain.state_dict())
    given = torch.randn(batch, channels[0], *size)
    made, expected = folded(given), plain(given)
    assert made.shape == expected.shape
    assert torch.allclose(made, expected, atol=1e-5)
    weights = torch.randn_like(expected)
    for conv, result in ((folded, made), (plain, expected)):
        (result * weights).sum().backward()
        assert conv.weight.grad is not None
    assert torch.allclose(folded.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)


def test_large_inputs_are_not_folded(monkeypatch):
    folded, given = Conv3d(2, 3, 3, padding=(0, 1, 1)), torch.randn(1, 2, 5, 4, 4)
    seen = []
    monkeypatch.setattr(convolutions.F, "conv2d", lambda *_, **__: seen.append("folded") or torch.zeros(3, 3, 4, 4))
    folded(given)
    assert seen == ["folded"]
    monkeypatch.setattr(convolutions, "LARGEST_FOLDED", given.nbytes)
    assert folded(given).abs().sum() > 0
    assert seen == ["folded"]


@torch.no_grad()
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("parts", [2, 3, 100])
def test_very_large_inputs_are_convolved_in_parts(monkeypatch, kernel, parts):
    conv, given = Conv3d(2, 3, kernel, padding=(0, kernel // 2, kernel // 2)), torch.randn(1, 2, 9, 4, 4)
    monkeypatch.setattr(convolutions, "LARGEST_FOLDED", 0)
    whole, convolve, lengths = conv(given), nn.Conv3d.forward, []

    def watched(self, input):
        lengths.append(input.shape[2])
        return convolve(self, input)

    monkeypatch.setattr(nn.Conv3d, "forward", watched)
    monkeypatch.setattr(convolutions, "LARGEST", given.numel() // (parts - 1) - 1)
    assert torch.allclose(conv(given), whole, atol=1e-6)
    assert len(lengths) == min(parts, 9 - kernel + 1)
    assert max(lengths) < 9
