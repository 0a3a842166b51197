"""Convolutions of videos that do not pad in time, arranged so that each device computes them well.

On a CPU, 3-D kernels with few channels are several times slower than 2-D kernels. There the time steps of a kernel
become channels: C channels at 3 times are 3 C channels of an image. The arithmetic is the same except for the order of
summation. On a GPU, a convolution supports only a limited number of values, so large inputs are convolved in parts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_FOLDED = 1 << 28  # bytes of the input times its time steps; beyond, folding takes too much memory
LARGEST = 1 << 30  # values of an input that is convolved at once


class Conv3d(nn.Conv3d):
    """A convolution that does not pad in time; folded or in parts where that is faster or necessary."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T + K - 1, H, W) -> (B, C', T, H', W'), where the kernel has K time steps."""
        steps = self.kernel_size[0]
        if steps > 1 and input.device.type == "cpu" and input.nbytes * steps <= LARGEST_FOLDED:
            return self._folded(input)
        if input.numel() > LARGEST:
            return self._in_parts(input)
        return super().forward(input)

    def _folded(self, input: Tensor) -> Tensor:
        steps = self.kernel_size[0]
        count, inputs = input.shape[2] - steps + 1, input.transpose(1, 2)
        taps = torch.cat([inputs[:, step : step + count] for step in range(steps)], dim=2)  # (B, T, K C, H, W)
        weight = self.weight.transpose(1, 2).flatten(1, 2)  # (C', K C, h, w)
        made = F.conv2d(taps.flatten(0, 1), weight, self.bias, padding=self.padding[1:])  # (B T, C', H', W')
        return made.unflatten(0, (len(input), count)).transpose(1, 2)

    def _in_parts(self, input: Tensor) -> Tensor:
        before = self.kernel_size[0] - 1
        count = input.shape[2] - before
        length = -(-count // (input.numel() // LARGEST + 1))  # frames of a part's output
        parts = [input[:, :, start : start + length + before] for start in range(0, count, length)]
        return torch.cat([super(Conv3d, self).forward(part) for part in parts], dim=2)
