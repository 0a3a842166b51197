"""Convolutions of the autoencoder that are causal in time."""

import torch
from torch import Tensor, nn

from refilm.backbones.convolutions import Conv3d


class CausalConv3d(nn.Module):
    """A convolution over the present frame and the K - 1 before it; before the first frame stand copies of it."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3):
        super().__init__()
        self.conv = Conv3d(inputs, outputs, kernel, padding=(0, kernel // 2, kernel // 2))

    def forward(self, x: Tensor, past: "Past | None" = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H, W).

        Args:
            x: consecutive frames.
            past: the inputs that precede these frames, if there are any; updated for the frames that follow.
        """
        before = self.conv.kernel_size[0] - 1
        if before:
            known = None if past is None else past.get(self)
            x = torch.cat([x[:, :, :1].expand(-1, -1, before, -1, -1) if known is None else known, x], dim=2)
            if past is not None:
                past[self] = x[:, :, -before:].clone()  # without keeping all frames in memory
        return self.conv(x)


Past = dict[CausalConv3d, Tensor]
"""The last inputs of each convolution, which let a video be decoded in parts."""
