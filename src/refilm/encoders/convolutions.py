"""3-D convolutions computed as 2-D convolutions on a CPU, where 3-D kernels with few channels are several times slower.

The time steps of a kernel become channels: C channels at 3 times are 3 C channels of an image. The arithmetic is the
same except for the order of summation.
"""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXSafeConv3d, CogVideoXSpatialNorm3D
from torch import Tensor

from refilm.encoders.norms import SpreadingNorm

LARGEST = 1 << 28  # maximum bytes of a convolution's input times its time steps; beyond, folding takes too much memory


class FoldedConv3d(CogVideoXSafeConv3d):
    """A convolution of the autoencoder, folded where that is faster."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T + K - 1, H, W) -> (B, C', T, H', W'), where the kernel has K time steps."""
        steps, small = self.kernel_size[0], input.nbytes * self.kernel_size[0] <= LARGEST
        if steps == 1 or input.device.type != "cpu" or not small:
            return super().forward(input)
        count, inputs = input.shape[2] - steps + 1, input.transpose(1, 2)
        taps = torch.cat([inputs[:, step : step + count] for step in range(steps)], dim=2)  # (B, T, K C, H, W)
        weight = self.weight.transpose(1, 2).flatten(1, 2)  # (C', K C, h, w)
        made = F.conv2d(taps.flatten(0, 1), weight, self.bias, padding=self.padding[1:])  # (B T, C', H', W')
        return made.unflatten(0, (len(input), count)).transpose(1, 2)


def fold(model: AutoencoderKLCogVideoX) -> AutoencoderKLCogVideoX:
    """Use `FoldedConv3d` and `SpreadingNorm` in an autoencoder; weights and their names do not change."""
    for module in model.modules():
        if type(module) is CogVideoXSpatialNorm3D:
            module.__class__ = SpreadingNorm
        if type(module) is CogVideoXSafeConv3d:
            assert module.stride == module.dilation == (1, 1, 1)
            assert module.padding[0] == 0
            module.__class__ = FoldedConv3d
    return model
