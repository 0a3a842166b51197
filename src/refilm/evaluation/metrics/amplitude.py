"""Motion amplitude as OpenS2V measures it (Yuan et al. 2025, arXiv 2505.20292), for its total score."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from refilm.errors import UserError
from refilm.evaluation.case import Sample
from refilm.evaluation.flow import opencv
from refilm.evaluation.metric import Column

SETTINGS = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2, "flags": 0}
ACROSS = 16
"""Width to which the flow is averaged before it is averaged over frames."""


class Amplitude:
    """The absolute mean of all components of Farneback's flow (2003, SCIA) between successive frames.

    Motions in opposite directions cancel, as in the benchmark's script; use `motion` to see whether a video moves.

    Args:
        device: unused; the flow is computed on the CPU.

    Raises:
        UserError: OpenCV is not installed.
    """

    columns: ClassVar[Sequence[Column]] = (
        Column(
            "amplitude", "OpenS2V motion amplitude: absolute mean of Farneback's flow in pixels per frame.", 0, None
        ),
    )

    def __init__(self, device: str = "cpu"):
        self.cv2 = opencv()
        settings = ", ".join(f"{name} {value}" for name, value in SETTINGS.items())
        self.identity = {
            "flow": f"Farneback, OpenCV {self.cv2.__version__}, {settings}",
            "frames": "all, in full size; gray with the weights of red and blue exchanged, as in OpenS2V",
        }

    def score(self, sample: Sample) -> Mapping[str, float]:
        """The amplitude in pixels per frame, at least 0.

        Raises:
            UserError: there are fewer than two frames.
        """
        if len(sample.frames) < 2:
            raise UserError(f"{sample.case.name}: amplitude needs at least 2 frames, the video has 1")
        grays = [self.cv2.cvtColor(frame, self.cv2.COLOR_BGR2GRAY) for frame in sample.frames]
        return {"amplitude": abs(float(np.mean([self._flow(*pair) for pair in pairwise(grays)])))}

    def _flow(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        flow = self.cv2.calcOpticalFlowFarneback(one, other, flow=None, **SETTINGS)
        size = ACROSS, max(1, int(flow.shape[0] * ACROSS / flow.shape[1]))
        return self.cv2.resize(flow, size, interpolation=self.cv2.INTER_AREA)
