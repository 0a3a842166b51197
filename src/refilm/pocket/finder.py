"""The finder: a small convolutional network that classifies each pixel as background or as a critter of some shape.

A frame is read together with its two neighbors. Trained only on real training clips (`benchmarks/finder.py`), never on
generated videos. Does not know how a video was made, nor which pixels belong to the same critter (`regions`).
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refilm.arguments import checked
from refilm.data.critters import SHAPES
from refilm.pocket.networks import Stored, conv, video_input

SIZE = 64
CLASSES = ("background", *SHAPES)


class Finder(Stored):
    """Classifies pixels. Call `find` on a video; `forward` is for training."""

    KIND = "finder"
    SCRIPT = "python benchmarks/finder.py"

    def __init__(self, width: int = 16):
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)  # at 64, 32, 16 and 8 pixels
        self.down = nn.ModuleList([conv(9, width)])
        self.down += [nn.Sequential(conv(a, b, stride=2), conv(b, b)) for a, b in pairwise(widths)]
        self.deepest = conv(widths[-1], widths[-1])
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.join = nn.ModuleList(conv(one, one) for one in widths[:-1])
        self.head = nn.Conv2d(width, len(CLASSES), 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames, each with the one before and the one after, (B, 3, 3, 64, 64) in 0..1 -> logits (B, 9, 64, 64)."""
        x, levels = 2 * frames.flatten(1, 2) - 1, []  # (B, 9, 64, 64)
        x = x.contiguous(memory_format=torch.channels_last)  # a third faster on CPUs
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        x = self.deepest(levels.pop())  # (B, 4 D, 8, 8)
        for narrow, join in zip(reversed(self.narrow), reversed(self.join), strict=True):
            x = F.interpolate(narrow(x), scale_factor=2, mode="bilinear")
            x = join(x + levels.pop())
        return self.head(x)  # (B, 9, 64, 64)

    @torch.inference_mode()
    @checked
    def find(self, video: np.ndarray) -> np.ndarray:
        """The probability of each class at each pixel.

        Args:
            video: (F, H, W, 3) uint8, square, any number of frames of at least 64 pixels; larger ones are averaged
                down to 64 pixels.

        Returns:
            (F, 9, 64, 64) float32, in the order of `CLASSES`.

        Raises:
            UserError: the video has another shape or dtype.
        """
        self.eval()
        frames = video_input(video, size=SIZE, fewest=1)
        return self(with_neighbors(frames)).softmax(1).numpy()


def with_neighbors(frames: Tensor) -> Tensor:
    """Each frame with the one before and the one after: (F, 3, H, W) -> (F, 3, 3, H, W); the ends are repeated."""
    return torch.stack((torch.cat((frames[:1], frames[:-1])), frames, torch.cat((frames[1:], frames[-1:]))), dim=1)
