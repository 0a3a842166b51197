"""Convolutions of the autoencoder that are causal in time."""

import torch
from torch import Tensor, nn

from refilm.backbones.convolutions import Conv3d

Past = dict[nn.Module, Tensor]
"""The last inputs of each layer that reads earlier frames, which let a video be processed in parts."""


class CausalConv3d(Conv3d):
    """A convolution over the present frame and the K - 1 before it; before the first frame stand zeros."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int] = (3, 3, 3)):
        super().__init__(inputs, outputs, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2))

    def forward(self, input: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H, W).

        Args:
            input: consecutive frames.
            past: the inputs that precede these frames, if there are any; updated for the frames that follow.
        """
        before = self.kernel_size[0] - 1
        known = None if past is None else past.get(self)
        if known is None:
            known = input.new_zeros(*input.shape[:2], before, *input.shape[3:])
        frames = torch.cat([known, input], dim=2)
        if past is not None:
            past[self] = frames[:, :, -before:].clone()  # without keeping all frames in memory
        return super().forward(frames)
