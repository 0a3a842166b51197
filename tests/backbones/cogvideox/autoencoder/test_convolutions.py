"""Causal convolutions."""

import torch

from refilm.backbones.cogvideox.autoencoder.convolutions import CausalConv3d


@torch.no_grad()
def test_a_video_can_be_convolved_in_parts():
    conv, video, past = CausalConv3d(2, 3), torch.randn(1, 2, 9, 4, 4), {}
    parts = [conv(part, past) for part in video.split([1, 2, 5, 1], dim=2)]
    assert torch.allclose(torch.cat(parts, dim=2), conv(video), atol=1e-6)
    assert past[conv].shape == (1, 2, 2, 4, 4)
