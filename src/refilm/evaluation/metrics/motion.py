"""Motion: whether a video moves, how fast, and how smoothly.

The three columns belong to one metric, because smoothness alone rewards videos that do not move: a still is perfectly
smooth. The definitions are those of VBench (Huang et al. 2024, arXiv 2311.17982), but its networks, RAFT and AMT,
are replaced by optical flow of DIS, so numbers cannot be compared with VBench's.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from refilm.errors import UserError
from refilm.evaluation.case import Sample
from refilm.evaluation.flow import SIDE, Dis, scaled
from refilm.evaluation.metric import Column

RATE = 8
"""Frames per second between which VBench measures flow."""
FAST = 6
"""Flow above which a pair of frames moves, in pixels at a shorter side of 256 and at 8 frames per second."""
TOP = 0.05
"""The fraction of pixels, the fastest ones, that count."""
MOVING = 4 / 16
"""The number of moving pairs of a dynamic video for each frame at 8 frames per second."""


class Motion:
    """Dynamic degree, speed and smoothness by DIS flow.

    Args:
        device: unused; the flow is computed on the CPU.

    Raises:
        UserError: OpenCV is not installed.
    """

    columns: ClassVar[Sequence[Column]] = (
        Column(
            "dynamic_degree",
            "Whether the video moves, by DIS flow: 1 if the fastest 5 % of the pixels are fast in a quarter of it.",
            worst=0,
            higher=None,
            hit=True,
        ),
        Column(
            "speed",
            "Speed of the fastest 5 % of the pixels by DIS flow, in shorter sides of the frame per second; 0 is still.",
            worst=0,
            higher=None,
        ),
        Column(
            "smoothness",
            "How well DIS flow predicts frames from their neighbors: 1 - mean absolute error / 255; a still has 1.",
            worst=0,
        ),
    )

    def __init__(self, device: str = "cpu"):
        self.flow = Dis()
        self.identity = {
            **self.flow.identity,
            "frames": f"flow between every round(fps / {RATE})-th frame, or first and last; smoothness of every second",
            "dynamic": f"top {TOP:.0%} above {FAST} pixels in {MOVING:.0%} of the frames, at least one pair",
        }

    def score(self, sample: Sample) -> Mapping[str, float | Sequence[float]]:
        """Dynamic degree (0 or 1), the speed of each pair of frames, the smoothness at each second frame.

        Raises:
            UserError: there are fewer than three frames.
        """
        if len(sample.frames) < 3:
            raise UserError(f"{sample.case.name}: motion needs at least 3 frames, the video has {len(sample.frames)}")
        frames = sample.frames
        usual = max(1, round(sample.fps / RATE))
        step = min(usual, len(frames) - 1)
        steps = range(0, len(frames), step)
        peaks = [fastest(self.flow(*pair)) for pair in pairwise(map(scaled, frames[::step]))]
        limit = FAST * max(1, RATE / sample.fps) * step / usual
        needed = max(1, round(MOVING * len(steps)))
        return {
            "dynamic_degree": float(sum(peak > limit for peak in peaks) >= needed),
            "speed": [peak / SIDE * sample.fps / step for peak in peaks],
            "smoothness": [self._smoothness(frames[index - 1 : index + 2]) for index in range(1, len(frames) - 1, 2)],
        }

    def _smoothness(self, three: np.ndarray) -> float:
        """How well the frame in the middle is predicted: (3, H, W, 3) uint8 -> at most 1."""
        before, frame, after = map(scaled, three)  # not all at once: long videos of few pixels would fill the memory
        expected = self.flow.between(before, after).astype(np.int16)
        return 1 - float(np.abs(frame - expected).mean()) / 255


def fastest(flow: np.ndarray) -> float:
    """The mean length of the 5 % longest vectors: (H, W, 2) -> pixels."""
    lengths = np.sort(np.hypot(flow[..., 0], flow[..., 1]), axis=None)
    return float(lengths[-max(1, int(TOP * lengths.size)) :].mean())
