"""What the judges' networks share: a convolution, a frame check, and weights in one small file.

Does not know what a network classifies.
"""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from refilm.arguments import checked
from refilm.errors import UserError


def conv(into: int, out: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution with batch norm and ReLU."""
    return nn.Sequential(nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


class Stored(nn.Module):
    """A network whose weights are one file, in fp16."""

    KIND: ClassVar[str]
    """What the network is called in errors."""
    SCRIPT: ClassVar[str]
    """The command that trains it."""

    @checked
    def save(self, path: Path | str) -> None:
        """Write the weights in fp16."""
        safetensors.torch.save_file(
            {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in self.state_dict().items()},
            path,
        )

    @classmethod
    @checked
    def load(cls, path: Path | str) -> Self:
        """Load the network that `save` wrote, in fp32.

        Raises:
            UserError: the file does not exist, or contains something else.
        """
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; train a {cls.KIND} with `{cls.SCRIPT}`")
        network = cls()
        try:
            network.load_state_dict(safetensors.torch.load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise UserError(
                f"{path}: not the weights of this version's {cls.KIND}: {error}; train one with `{cls.SCRIPT}`"
            ) from error
        return network.eval()


def video_input(video: np.ndarray, *, size: int, fewest: int) -> Tensor:
    """A video (F, H, W, 3) uint8 as input of a network: (F, 3, size, size) in 0..1; larger videos are box-filtered.

    Raises:
        UserError: the video has another shape or dtype, fewer than `fewest` frames, or fewer than `size` pixels.
    """
    shape = video.shape
    if video.dtype != np.uint8 or video.ndim != 4 or shape[3] != 3:
        raise UserError(f"a video must be (F, H, W, 3) of uint8, received {shape} of {video.dtype}")
    if shape[0] < fewest or shape[1] != shape[2] or shape[1] < size:
        raise UserError(
            f"a video must be square, with at least {fewest} frames of at least {size} pixels, "
            f"received {shape[0]} frames of {shape[1]} x {shape[2]}"
        )
    frames = torch.from_numpy(np.ascontiguousarray(video)).permute(0, 3, 1, 2).float() / 255  # (F, 3, H, W)
    return F.adaptive_avg_pool2d(frames, size)
